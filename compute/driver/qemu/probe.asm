# The firmware of the probe guest: 64 KiB at the end of the first megabyte.
# It enters long mode as a kernel does, counts to twenty million and leaves
# through QEMU's isa-debug-exit device at port 0x501. An accelerator that only
# emulates instructions, or cannot enter long mode, does not get there in time.
#   as --32 -o probe.o probe.S && objcopy -O binary -j .text probe.o
# The processor starts at offset 0xfff0 with a far jump to f000:0000.
.code16
  cli
  xor %ax,%ax
  mov %ax,%ds
  mov %ax,%es
  mov %ax,%ss
  mov $0x7000,%sp
  mov $0x1000,%di         # page tables: the first 2 MiB, identity
  mov $0x0c00,%cx
  xor %eax,%eax
  rep stosl
  movl $0x2003,0x1000
  movl $0x3003,0x2000
  movl $0x0083,0x3000
  mov $0x1000,%eax
  mov %eax,%cr3
  mov $0x20,%eax          # PAE
  mov %eax,%cr4
  mov $0xc0000080,%ecx    # EFER.LME
  rdmsr
  or $0x100,%eax
  wrmsr
  mov $0xf000,%ax
  mov %ax,%ds
  lgdtl gdtr
  mov %cr0,%eax
  or $0x80000001,%eax
  mov %eax,%cr0
  ljmpl $0x08,$(0xf0000+long)
.code64
long:
  mov $20000000,%ecx
1: dec %ecx
  jnz 1b
  mov $0x10,%al
  mov $0x501,%dx
  out %al,%dx             # QEMU exits with 2*0x10+1
2: hlt
  jmp 2b
.balign 8
gdt: .quad 0
  .quad 0x00209a0000000000
  .quad 0x0000920000000000
gdtr: .word 23
  .long 0xf0000+gdt
