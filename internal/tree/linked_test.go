package tree

import (
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the list of packages that the broker links")

const linkedFile = root + "/cmd/weir/linked.txt"

// What the broker links is a checked-in list, so that a change of it is seen in review. To renew it:
//
//	go test ./internal/tree -run TestLinkedPackages -update
func TestLinkedPackages(t *testing.T) {
	command := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./cmd/weir")
	command.Dir = root
	command.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64")
	output, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	got := string(output)
	if *update {
		if err := os.WriteFile(linkedFile, output, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(linkedFile)
	if err != nil {
		t.Fatalf("%v; write it with -update", err)
	}
	for _, name := range missing(got, string(want)) {
		t.Errorf("cmd/weir links %s, which %s does not list; is it worth it? then run this test with -update", name, linkedFile)
	}
	for _, name := range missing(string(want), got) {
		t.Errorf("%s lists %s, which cmd/weir no longer links; run this test with -update", linkedFile, name)
	}
}

// missing returns the lines of a that b does not have.
func missing(a, b string) (names []string) {
	has := map[string]bool{}
	for _, name := range strings.Fields(b) {
		has[name] = true
	}
	for _, name := range strings.Fields(a) {
		if !has[name] {
			names = append(names, name)
		}
	}
	return names
}
