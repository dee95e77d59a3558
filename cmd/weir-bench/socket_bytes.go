package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// socketBytes is how much each open TCP socket has sent so far, as the kernel counts it, by the addresses of its ends. A connection
// of two processes of this machine has two sockets, one for each direction.
type socketBytes map[string]int64

// since is what was sent since an earlier look, by the sockets that are still open.
func (s socketBytes) since(before socketBytes) (sum int64) {
	for ends, sent := range s {
		sum += sent - before[ends]
	}
	return sum
}

// sentAt looks at the sockets that have one of the ports at either end. It needs the program ss (iproute2).
func sentAt(ctx context.Context, ports []int) (socketBytes, error) {
	var terms []string
	for _, port := range ports {
		terms = append(terms, fmt.Sprintf("sport = :%d or dport = :%d", port, port))
	}
	text, err := exec.CommandContext(ctx, "ss", "-tinHO", "( "+strings.Join(terms, " or ")+" )").Output()
	if err != nil {
		return nil, fmt.Errorf("ss, which counts the bytes between brokers: %w", err)
	}
	return readSocketBytes(string(text))
}

// readSocketBytes reads lines of ss: state, two queues, two addresses, and what the kernel knows of the socket.
func readSocketBytes(text string) (socketBytes, error) {
	all := socketBytes{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		ends := fields[3] + " " + fields[4]
		all[ends] = 0 // the kernel does not say so
		for _, f := range fields[5:] {
			value, ok := strings.CutPrefix(f, "bytes_sent:")
			if !ok {
				continue
			}
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("a socket of %s: %w", ends, err)
			}
			all[ends] = n
		}
	}
	return all, nil
}
