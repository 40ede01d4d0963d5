# The test guest: a boot sector that says so on the serial port, lets go of
# hot-plugged devices and powers off when its power button is pressed.
#   as --32 -o guest.o guest.asm && objcopy -O binary -j .text guest.o
.code16
  cli
  xor %ax,%ax
  mov %ax,%ds
  mov %ax,%ss
  mov $0x7c00,%sp
  mov $0x7c00+hello,%si
  mov $0x3f8,%dx
1: lodsb
  test %al,%al
  jz 2f
  out %al,%dx
  jmp 1b
2: mov $0x602,%dx         # PM1 enable: the power button
  mov $0x100,%ax
  out %ax,%dx
idle:
  sti                     # wait for the BIOS's timer, 18 times a second
  hlt
  cli
  mov $0x600,%dx          # PM1 status
  in %dx,%ax
  test $1,%ah
  jnz off
  xor %ebx,%ebx           # ACPI PCI hot-plug of q35: each bus ...
3: mov $0xcd0,%dx
  mov %ebx,%eax
  out %eax,%dx
  mov $0xcc4,%dx          # ... what shall go ...
  in %dx,%eax
  test %eax,%eax
  jz 4f
  mov $0xcc8,%dx          # ... is ejected
  out %eax,%dx
4: inc %ebx
  cmp $64,%bx
  jb 3b
  jmp idle
off:
  mov $0x604,%dx          # PM1 control: sleep, S5
  mov $0x2000,%ax
  out %ax,%dx
5: hlt
  jmp 5b
hello: .asciz "guest is up\r\n"
