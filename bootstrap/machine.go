package bootstrap

import (
	"log/slog"
	"math"
	"os"
	"strconv"
	"strings"
)

// What a task that runs takes of the machine, and what the rest of a process takes.
const (
	programDescriptors = 6 // pipes for input and output, a descriptor of the process
	webhookDescriptors = 1
	otherDescriptors   = 200 // the server, the store and the queue, and what is kept free
	otherProcesses     = 50  // threads count as processes
)

// unlimited stands for no limit.
const unlimited = math.MaxUint64

// machineLimits are the limits of the process.
type machineLimits struct{ descriptors, processes uint64 }

// warnOfLimits compares the limits with what the slots may need, and warns of those that
// are lower: tasks wait then, instead of running all at once.
func (c WorkConfig) warnOfLimits(log *slog.Logger, limits machineLimits) {
	programs, webhooks := c.handles("exec:"), c.handles("http:") || c.handles("https:")
	slots, descriptors, processes := uint64(c.Capacity), uint64(0), uint64(0)
	if webhooks {
		descriptors = slots*webhookDescriptors + otherDescriptors
	}
	if programs {
		descriptors, processes = slots*programDescriptors+otherDescriptors, slots+otherProcesses
	}
	if limits.descriptors < descriptors || limits.processes < processes {
		log.Warn("limits are too low to use all slots: some tasks will wait until others have ended",
			"WORKER_QUEUE_MAXSIZE", slots, "file_descriptors", limitText(limits.descriptors), "file_descriptors_needed", descriptors,
			"processes", limitText(limits.processes), "processes_needed", processes)
	}
}

func limitText(limit uint64) string {
	if limit == unlimited {
		return "unlimited"
	}
	return strconv.FormatUint(limit, 10)
}

// handles reports whether the handler of any queue begins with the scheme.
func (c WorkConfig) handles(scheme string) bool {
	lines, err := c.handlers()
	if err != nil {
		return false
	}
	for _, line := range lines {
		if strings.HasPrefix(line.handler, scheme) {
			return true
		}
	}
	return strings.HasPrefix(c.Handler, scheme)
}

// cgroupProcesses is the limit of the control group, where containers have theirs.
func cgroupProcesses() uint64 {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return unlimited
	}
	least := uint64(unlimited)
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		switch fields[1] {
		case "":
			least = min(least, readLimit("/sys/fs/cgroup"+fields[2]+"/pids.max"), readLimit("/sys/fs/cgroup/pids.max"))
		case "pids":
			least = min(least, readLimit("/sys/fs/cgroup/pids"+fields[2]+"/pids.max"), readLimit("/sys/fs/cgroup/pids/pids.max"))
		}
	}
	return least
}

// readLimit reads a number from a file; there is no limit if it holds none, but max.
func readLimit(file string) uint64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return unlimited
	}
	limit, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return unlimited
	}
	return limit
}
