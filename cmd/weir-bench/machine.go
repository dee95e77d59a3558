package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
)

// machine says where the figures come from.
type machine struct {
	Cores     int    `json:"cores"`
	Processor string `json:"processor"`
	Memory    int64  `json:"memory_bytes"`
	Kernel    string `json:"kernel"`
	Go        string `json:"go"`
}

func describeMachine() machine {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return machine{
		Cores: runtime.NumCPU(), Processor: field("/proc/cpuinfo", "model name"), Memory: kilobytes("MemTotal"),
		Kernel: runtime.GOOS + " " + strings.TrimSpace(string(release)), Go: runtime.Version(),
	}
}

func (m machine) String() string {
	return fmt.Sprintf("%d cores (%s), %.0f GiB, %s, %s", m.Cores, m.Processor, float64(m.Memory)/(1<<30), m.Kernel, m.Go)
}

func kilobytes(key string) int64 {
	var n int64
	_, _ = fmt.Sscanf(field("/proc/meminfo", key), "%d", &n)
	return n << 10
}

// available is memory that can be taken without pushing anything out.
func available() int64 { return kilobytes("MemAvailable") }

func mapMemory(bytes int) ([]byte, error) {
	return syscall.Mmap(-1, 0, bytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
}

func unmapMemory(b []byte) { _ = syscall.Munmap(b) }
