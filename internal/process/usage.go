package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// ticksPerSecond is the unit of CPU times in /proc, the same on every Linux that Go
// runs on.
const ticksPerSecond = 100

// Usage is what a process has used since its start.
type Usage struct {
	// CPU is user and system time of all threads, and of children that were waited
	// for, to 10 ms.
	CPU time.Duration
	// Resident and ResidentMax are bytes of memory, now and at most so far.
	Resident, ResidentMax int64
}

// Usage reads /proc, so it fails on systems without one, and once the process ended.
func (p *Process) Usage() (Usage, error) { return UsageOf(p.ID()) }

// UsageOf is [Process.Usage] of any process.
func UsageOf(id int) (Usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	if err != nil {
		return Usage{}, fmt.Errorf("usage of process %d: %w", id, err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", id))
	if err != nil {
		return Usage{}, fmt.Errorf("usage of process %d: %w", id, err)
	}
	u := Usage{Resident: statusBytes(status, "VmRSS:"), ResidentMax: statusBytes(status, "VmHWM:")}
	u.CPU, err = statCPU(stat)
	return u, err
}

// statCPU adds utime, stime, cutime and cstime, fields 14 to 17 of proc_pid_stat(5);
// the second field, the name in parentheses, may hold blanks.
func statCPU(stat []byte) (time.Duration, error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 15 {
		return 0, fmt.Errorf("stat of a process has %d fields", len(fields))
	}
	var ticks int64
	for _, field := range fields[11:15] {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("stat of a process: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// statusBytes reads a line "Key:  123 kB"; zero if there is none.
func statusBytes(status []byte, key string) int64 {
	for line := range bytes.Lines(status) {
		rest, ok := bytes.CutPrefix(line, []byte(key))
		if !ok {
			continue
		}
		fields := bytes.Fields(rest)
		if len(fields) == 0 {
			return 0
		}
		n, _ := strconv.ParseInt(string(fields[0]), 10, 64)
		return n << 10
	}
	return 0
}
