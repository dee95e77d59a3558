// Command weir-clients runs scenarios of sarama and segmentio/kafka-go against one endpoint: weir-clients HOST:PORT [FILTER].
// Each scenario is a row of the table in CLIENTS.md, and prints one line, `ok NAME` or `FAIL NAME: cause`; the exit code is 1 if one failed.
//
// It is a module of its own, so that weir does not depend on these clients.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// limit is how long a scenario may take.
const limit = 2 * time.Minute

type scenario struct {
	name string
	run  func(context.Context) error
}

var (
	// A POST to /kill or /restart below control ends the broker, and is answered once it is there again; empty if nobody does that.
	control   = os.Getenv("BROKER_CONTROL")
	bootstrap string
	names     atomic.Int64
)

func main() {
	bootstrap = os.Args[1]
	filter := ""
	if len(os.Args) > 2 {
		filter = os.Args[2]
	}
	if filter == "--member" {
		stay(os.Args[3], os.Args[4], os.Args[5])
	}
	wanted := regexp.MustCompile(filter)
	failed := 0
	for _, s := range slices.Concat(saramaScenarios, kafkaGoScenarios) {
		if !wanted.MatchString(s.name) || control == "" && strings.Contains(s.name, "broker-") {
			continue
		}
		start := time.Now()
		if err := runScenario(s); err != nil {
			failed++
			fmt.Printf("FAIL %s: %v\n", s.name, err)
			continue
		}
		fmt.Printf("ok %s (%d ms)\n", s.name, time.Since(start).Milliseconds())
	}
	if failed > 0 {
		os.Exit(1)
	}
}

// runScenario gives up at the limit: not every call of these clients takes a context.
func runScenario(s scenario) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit + 10*time.Second):
		return fmt.Errorf("not done in %v", limit)
	}
}

// stay is a member of the group until it is killed.
func stay(client, group, topic string) {
	join := map[string]func(context.Context, string, string) error{"sarama": saramaStay, "kafka-go": kafkaGoStay}[client]
	fmt.Fprintln(os.Stderr, join(context.Background(), group, topic))
	os.Exit(1)
}

// withKilledMember runs a member of the group in a process of its own, and kills it after joined has returned.
func withKilledMember(client, group, topic string, joined func() error) error {
	member := exec.Command(os.Args[0], bootstrap, "--member", client, group, topic)
	member.Stderr = os.Stderr
	if err := member.Start(); err != nil {
		return err
	}
	err := joined()
	_ = member.Process.Kill()
	_ = member.Wait()
	return err
}

// controlBroker has the broker killed or restarted, and returns once it is there again.
func controlBroker(ctx context.Context, action string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, control+"/"+action, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s the broker: %s", action, response.Status)
	}
	return nil
}

// newName returns a name for a topic, group or transactional id that no other run uses.
func newName() string {
	return fmt.Sprintf("go-%d-%d-%d", time.Now().UnixNano(), os.Getpid(), names.Add(1))
}

// values returns the values v<from> to v<to-1>.
func values(from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, "v"+strconv.Itoa(i))
	}
	return all
}

// sameValues compares without regard to order.
func sameValues(want, got []string) error {
	want, got = slices.Clone(want), slices.Clone(got)
	slices.Sort(want)
	slices.Sort(got)
	return equal(want, got)
}

func equal(want, got any) error {
	if w, g := fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got); w != g {
		return fmt.Errorf("want %.300s, got %.300s", w, g)
	}
	return nil
}
