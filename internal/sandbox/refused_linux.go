//go:build linux && (amd64 || arm64)

package sandbox

import (
	"errors"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// refusals are how the system says that it does not let somebody do something, or cannot. ENOSPC is what it says where there may be no more
// namespaces.
func refusals() []error {
	return []error{unix.EPERM, unix.EACCES, unix.ENOSYS, unix.EINVAL, unix.ENODEV, unix.EOPNOTSUPP}
}

// isRefusal tells a machine that does not allow something from one that fails just now, where trying again may help.
func isRefusal(err error) bool {
	for _, refusal := range refusals() {
		if errors.Is(err, refusal) {
			return true
		}
	}
	var setup *SetupError
	return errors.Is(err, unix.ENOSPC) && errors.As(err, &setup) && slices.Contains([]string{helperOp, templateOp, networkOp, initOp}, setup.Op)
}

// refused finds out why the machine does not let a sandbox be made. Other errors it returns as they are.
func refused(err error) error {
	if _, ok := errors.AsType[*RefusedError](err); ok || !isRefusal(err) {
		return err
	}
	var setup *SetupError
	if errors.As(err, &setup) && setup.Op == overlayOnOverlay {
		return &RefusedError{
			"the cache folder is on an overlay, as the files of a container are, and no other can be made on that",
			"name a cache folder on a volume, or on another file system, with --cache-dir or TOW_CACHE_DIR", err,
		}
	}
	for _, setting := range []struct{ path, bad, why, remedy string }{
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1",
			"AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)",
			"run `sysctl kernel.apparmor_restrict_unprivileged_userns=0` as root, or give tow an AppArmor profile with userns"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0",
			"the system refuses user namespaces (kernel.unprivileged_userns_clone is 0)", "run `sysctl kernel.unprivileged_userns_clone=1` as root"},
		{"/proc/sys/user/max_user_namespaces", "0",
			"the system refuses user namespaces (user.max_user_namespaces is 0)", "run `sysctl user.max_user_namespaces=15000` as root"},
	} {
		content, readErr := os.ReadFile(setting.path)
		// Root needs none of them but the last, which holds for everybody.
		if readErr == nil && strings.TrimSpace(string(content)) == setting.bad && (os.Geteuid() != 0 || strings.HasSuffix(setting.path, "max_user_namespaces")) {
			return &RefusedError{setting.why, setting.remedy, err}
		}
	}
	switch {
	case errors.Is(err, unix.ENOSYS):
		return &RefusedError{"the system is too old, or its system calls are filtered", "use Linux 5.12 or later, or a container that may make namespaces", err}
	case errors.As(err, &setup) && strings.HasPrefix(setup.Op, "make an overlay"):
		return &RefusedError{"the system refuses overlays in user namespaces", "use Linux 5.12 or later, and a cache folder on a file system that is no overlay itself", err}
	case errors.Is(err, unix.EPERM):
		return &RefusedError{"the system refuses namespaces, as containers do", "give the container the right to make them: with Docker `--security-opt seccomp=unconfined --security-opt systempaths=unconfined`", err}
	}
	return &RefusedError{"the sandbox cannot be made", "", err}
}
