package bootstrap

import (
	"os"

	"golang.org/x/sys/unix"
)

// limitsOfMachine reads the limits. Those on a user's processes do not bind root.
func limitsOfMachine() machineLimits {
	limits := machineLimits{descriptors: unlimited, processes: cgroupProcesses()}
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) == nil {
		limits.descriptors = r.Cur
	}
	if os.Geteuid() != 0 && unix.Getrlimit(unix.RLIMIT_NPROC, &r) == nil {
		limits.processes = min(limits.processes, r.Cur)
	}
	return limits
}
