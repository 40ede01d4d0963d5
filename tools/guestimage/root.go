package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// programs are copied into the guest with their libraries; the rest of its
// commands are busybox's.
var programs = []string{
	"/usr/sbin/dropbear", "/usr/bin/dropbearkey", "/usr/bin/dbclient",
	"/usr/sbin/resize2fs", "/usr/sbin/mke2fs", "/usr/sbin/e2fsck",
	"/usr/bin/lsblk", "/usr/sbin/blkid",
	"/usr/libexec/sudo/sudoers.so", "/usr/lib/x86_64-linux-gnu/security/pam_permit.so",
}

// sbin are the applets that others look for in /usr/sbin. They are in /usr/bin
// too, as a command over SSH has only that in its path.
var sbin = map[string]bool{
	"acpid": true, "arp": true, "arping": true, "blkdiscard": true, "blockdev": true, "brctl": true, "fdisk": true,
	"findfs": true, "fsfreeze": true, "fstrim": true, "getty": true, "halt": true, "hwclock": true, "ifconfig": true,
	"init": true, "insmod": true, "ip": true, "losetup": true, "lsmod": true, "mkswap": true, "modinfo": true,
	"modprobe": true, "poweroff": true, "reboot": true, "rmmod": true, "route": true, "swapoff": true, "swapon": true,
	"switch_root": true, "sysctl": true, "tc": true, "udhcpc": true, "uevent": true, "vconfig": true,
}

var appletName = regexp.MustCompile(`^[a-z0-9]+$`)

// newRoot lays out the guest's root file system.
func newRoot(s *source) (tree, error) {
	t := tree{}
	for _, d := range []string{
		"/dev", "/proc", "/sys", "/run", "/mnt", "/media", "/var/log", "/var/lib/guest",
		"/etc/dropbear", "/usr/local/bin", "/usr/local/sbin", "/opt", "/srv", "/newroot",
	} {
		t.dir(d, 0o755)
	}
	t.dir("/tmp", 0o1777)
	t.dir("/var/tmp", 0o1777)
	t.dir("/root", 0o700)
	t.dir("/home", 0o755)
	t["/home/cirros"] = node{mode: modeDir | 0o755, uid: 1000, gid: 1000}
	for _, l := range []string{"bin", "sbin", "lib", "lib64"} {
		t.link("/"+l, "usr/"+l)
	}
	t.link("/var/run", "/run")
	if err := t.scriptsFrom("rootfs"); err != nil {
		return nil, err
	}
	for name, perm := range map[string]uint32{"/etc/shadow": 0o600, "/etc/sudoers": 0o440} {
		n := t[name]
		n.mode = modeFile | perm
		t[name] = n
	}
	if err := t.commands(s); err != nil {
		return nil, err
	}
	t.list("late", closure(s.modules, lateModules))
	for _, m := range s.modules {
		t.file("/usr/lib/modules/"+m.version+"/"+m.file, 0o644, m.content)
	}
	t.moduleIndex(s.modules)
	return t, nil
}

// commands adds the programs, and a link for every applet of busybox.
func (t tree) commands(s *source) error {
	for _, p := range programs {
		if err := t.program(s, p, 0o755); err != nil {
			return err
		}
	}
	// Set-uid: ping and su need it, the other applets drop it by themselves.
	if err := t.program(s, "/usr/bin/busybox", 0o4755); err != nil {
		return err
	}
	if err := t.program(s, "/usr/bin/sudo", 0o4755); err != nil {
		return err
	}
	static, err := staticBusybox(s)
	if err != nil {
		return err
	}
	// The scripts run in the static one: its applets need no new program.
	t.file("/usr/lib/guest/busybox", 0o755, static)
	for _, name := range applets(static) {
		t.applet("/usr/bin/" + name)
		if sbin[name] {
			t.applet("/usr/sbin/" + name)
		}
	}
	for _, l := range [][2]string{
		{"/usr/sbin/init", "/usr/lib/guest/busybox"},
		{"/usr/bin/ssh", "dbclient"},
		{"/usr/sbin/mkfs.ext4", "mke2fs"},
		{"/usr/sbin/mkfs.ext3", "mke2fs"},
		{"/usr/sbin/mkfs.ext2", "mke2fs"},
		{"/usr/sbin/fsck.ext4", "e2fsck"},
	} {
		t.link(l[0], l[1])
	}
	conf, ok := s.open("/etc/mke2fs.conf")
	if !ok {
		return errors.New("no package holds /etc/mke2fs.conf")
	}
	t.file("/etc/mke2fs.conf", 0o644, conf)
	return nil
}

func (t tree) applet(name string) {
	if _, ok := t[name]; !ok {
		t.link(name, "/usr/bin/busybox")
	}
}

// moduleIndex writes what modprobe reads, for modules loaded on demand.
func (t tree) moduleIndex(mods []module) {
	file := map[string]string{}
	for _, m := range mods {
		file[m.name] = m.file
	}
	var dep, alias strings.Builder
	for _, m := range mods {
		need := closure(mods, []string{m.name})
		dep.WriteString(m.file + ":")
		for i := len(need) - 1; i >= 0; i-- {
			if need[i].name != m.name {
				dep.WriteString(" " + need[i].file)
			}
		}
		dep.WriteString("\n")
		for _, a := range m.aliases {
			fmt.Fprintf(&alias, "alias %s %s\n", a, m.name)
		}
	}
	dir := "/usr/lib/modules/" + mods[0].version
	t.file(dir+"/modules.dep", 0o644, []byte(dep.String()))
	t.file(dir+"/modules.alias", 0o644, []byte(alias.String()))
}
