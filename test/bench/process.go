package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ticks is the unit of CPU time in /proc: a hundredth of a second on every Linux.
const ticks = 100

// stat is what /proc says about a process.
type stat struct {
	parent   int
	own      float64 // CPU seconds of all its threads
	children float64 // CPU seconds of the children that it has waited for
}

// statOf reads /proc/PID/stat; a process that has ended has used nothing.
func statOf(pid int) stat {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}
	}
	// The name before may hold spaces and parentheses.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	number := func(field int) float64 { // as proc(5) counts them
		n, _ := strconv.ParseFloat(fields[field-3], 64) // the kernel writes numbers
		return n
	}
	return stat{int(number(4)), (number(14) + number(15)) / ticks, (number(16) + number(17)) / ticks}
}

// cpuOf is the CPU time of a process so far, with that of its running and ended
// children. For this program it is its own time alone, because all that is measured are
// its children.
func cpuOf(pid int) float64 {
	for {
		s := statOf(pid)
		if pid == os.Getpid() {
			return s.own
		}
		sum := s.own + s.children
		all, _ := filepath.Glob("/proc/[0-9]*") // the pattern is right
		for _, dir := range all {
			child, _ := strconv.Atoi(filepath.Base(dir))
			if s := statOf(child); s.parent == pid {
				sum += s.own
			}
		}
		if statOf(pid).children == s.children { // no child has ended meanwhile
			return sum
		}
	}
}

// memory reads a line of /proc/PID/status, such as VmRSS or VmHWM, in megabytes.
func memory(pid int, line string) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(l, line+":"); ok {
			kilobytes, _ := strconv.ParseFloat(strings.Fields(value)[0], 64) // the kernel writes numbers
			return kilobytes * 1024 / 1e6
		}
	}
	return 0
}

// processGroup has the processes of a measurement by name.
type processGroup map[string]int

// startCounting begins to count the CPU time of the processes. The returned function
// returns it for each 1,000 of tasks.
func (w processGroup) startCounting() (spent func(tasks int) reading) {
	before := make(map[string]float64, len(w))
	for name, pid := range w {
		before[name] = cpuOf(pid)
	}
	return func(tasks int) reading {
		r := reading{}
		for name, pid := range w {
			r["cpu "+name] = (cpuOf(pid) - before[name]) * 1000 / float64(max(1, tasks))
		}
		return r
	}
}

// rated is a reading with the rate of the tasks beside what they cost.
func rated(tasks int, took time.Duration, cost reading) reading {
	cost["rate"] = float64(tasks) / took.Seconds()
	return cost
}

// merge sums up the readings of several processes of one name: "x 1", "x 2".
func (r reading) merge(name string) {
	sum := 0.0
	for metric, value := range r {
		if strings.HasPrefix(metric, name+" ") {
			sum += value
			delete(r, metric)
		}
	}
	r[name] = sum
}
