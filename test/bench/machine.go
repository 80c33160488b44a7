package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// machine is where was measured.
type machine struct {
	CPU        string  `json:"cpu"`
	Cores      int     `json:"cores"`
	MemoryGB   float64 `json:"memory_gb"`
	Kernel     string  `json:"kernel"`
	Go         string  `json:"go"`
	PostgreSQL string  `json:"postgresql"`
	Redis      string  `json:"redis"`
	Disk       string  `json:"disk"`     // the file system
	FsyncMS    float64 `json:"fsync_ms"` // the median
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, %.0f GB of memory, Linux %s, %s; PostgreSQL %s (%s), Redis %s, all on this machine with the load; %s, an fsync of 8 kB takes %s ms",
		m.CPU, m.Cores, m.MemoryGB, m.Kernel, m.Go, m.PostgreSQL, strings.Join(postgresConf, ", "), m.Redis, m.Disk, short(m.FsyncMS))
}

func describeMachine(b *bench) machine {
	m := machine{
		CPU: procLine("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), Go: runtime.Version(),
		PostgreSQL: b.text(b.servers.admin, "SHOW server_version"), Redis: b.servers.redisInfo(b.session, "redis_version"),
		FsyncMS: 1000 / b.fsyncs(time.Second),
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	b.must(err, "read the version of the kernel")
	m.Kernel = strings.TrimSpace(string(kernel))
	_, _ = fmt.Sscanf(procLine("/proc/meminfo", "MemTotal"), "%g kB", &m.MemoryGB)
	m.MemoryGB *= 1024 / 1e9
	m.Disk = fileSystem(b.dataDir())
	return m
}

// procLine is what a file of names and values says of a name, at its first mention.
func procLine(file, name string) string {
	text, _ := os.ReadFile(file) // what cannot be read is not told
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// dataDir is where PostgreSQL writes.
func (b *bench) dataDir() string { return b.text(b.servers.admin, "SHOW data_directory") }

// fileSystem is the kind of the file system that a folder is on.
func fileSystem(dir string) string {
	mounts, _ := os.ReadFile("/proc/mounts") // what cannot be read is not told
	kind, longest := "", 0
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		at := fields[1]
		if (dir == at || strings.HasPrefix(dir, strings.TrimSuffix(at, "/")+"/")) && len(at) >= longest {
			kind, longest = fields[2], len(at)
		}
	}
	return kind
}

// fsyncs is how many flushes of 8 kB the disk of the servers does in a second, one
// after the other: of the median of its times.
func (b *bench) fsyncs(d time.Duration) float64 {
	file, err := os.CreateTemp(filepath.Dir(b.dataDir()), "fsync-")
	b.must(err, "make a file beside the servers'")
	defer func() { _, _ = file.Close(), os.Remove(file.Name()) }()
	page := make([]byte, 8192)
	var times []time.Duration
	for start := time.Now(); time.Since(start) < d; {
		_, err := file.WriteAt(page, 0)
		b.must(err, "write")
		before := time.Now()
		b.must(file.Sync(), "flush")
		times = append(times, time.Since(before))
	}
	slices.Sort(times)
	return 1 / times[len(times)/2].Seconds()
}

// commit is the state of the code that was measured.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
