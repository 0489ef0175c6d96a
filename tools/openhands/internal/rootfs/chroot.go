package rootfs

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// Scripts is where a Chroot has its Scripts.
const Scripts = "/scripts"

// Chroot is a folder of Debian as a process sees it: read-only but for /tmp and its
// home, which are new each time, and on this machine's network.
type Chroot struct {
	Root       string
	Packages   string // of Cache.Packages; may be empty
	ResolvConf string // may be empty: no names resolve
	Scripts    string // folder that is seen at /scripts; may be empty

	writable bool // as root and into Root and Packages: for building
}

// enter mounts, and becomes the command. All mounts are gone with it, as they are
// made in a mount namespace of their own. It does not outlive its parent, a test that is
// killed.
const enter = `
root=$1 packages=$2 resolv=$3 scripts=$4 user=$5 mode=$6; shift 6
mount --bind "$root" "$root"
if [ "$packages" ]; then mount --bind "$packages" "$root` + Packages + `"; fi
if [ "$mode" = ro ]; then
  mount -o remount,bind,ro "$root"
  if [ "$packages" ]; then mount -o remount,bind,ro "$root` + Packages + `"; fi
  mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
  mount -t tmpfs -o "mode=700,uid=$user,gid=$user" tmpfs "$root` + home + `"
fi
if [ "$resolv" ]; then mount --bind "$resolv" "$root/etc/resolv.conf"; fi
if [ "$scripts" ]; then mount --bind "$scripts" "$root` + Scripts + `"; fi
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
exec chroot "$root" setpriv --reuid="$user" --regid="$user" --clear-groups --pdeathsig KILL -- "$@"
`

// Command runs a program in the folder. It is the process that is started: a
// signal to it reaches the program.
func (c Chroot) Command(ctx context.Context, args ...string) *exec.Cmd {
	user, mode := strconv.Itoa(UserID), "ro"
	if c.writable {
		user, mode = "0", "rw"
	}
	all := append([]string{
		"--mount", "/bin/sh", "-euc", enter, "sh", c.Root, c.Packages, c.ResolvConf, c.Scripts, user, mode,
	}, args...)
	cmd := exec.CommandContext(ctx, "unshare", all...)
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + home, "LANG=C.UTF-8"}
	return cmd
}

// compile makes the bytecode of a folder, so that a sandbox, which cannot write it,
// does not compile anew at each start. It is bound to no times: an image has none. A
// package may hold files for another Python; what does not compile is left.
func compile(ctx context.Context, c Chroot, folder string) error {
	const program = `import compileall, py_compile, sys
compileall.compile_dir(sys.argv[1], quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)`
	return run(c.Command(ctx, "/usr/bin/python"+python, "-c", program, folder))
}

// run tells what a failed command said last.
func run(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	const most = 4000 // bytes: the reason stands at the end
	text := strings.TrimSpace(string(out))
	return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args[:min(2, len(cmd.Args))], " "), err, text[max(0, len(text)-most):])
}
