package tree

import (
	"strings"
	"testing"
)

// layers lists the folders from the top down. A package may import packages of lower layers, and of its own folder's
// entry (core/broker and core/broker/x are one folder); nothing else of weir.
var layers = [][]string{
	{"cmd"},
	{"conformance"},
	{"sim"},
	{"realio"},
	{"faults"},
	{"bill"},
	{"core/node"},
	{"core/broker"},
	{"core/group", "core/txn", "core/share"},
	{"core/coordinator"},
	{"core/zone"},
	{"core/controller"},
	{"core/partition"},
	{"core/stream"},
	{"core/metadata", "core/quorum", "core/clean"},
	{"core/wal", "core/object"},
	{"core/record"},
	{"core/auth", "core/quota", "core/config", "core/compress"},
	{"core/peer", "core/wire"},
	{"core/task", "core/telemetry"},
	{"core/env"},
}

// anywhere may be imported by any package's tests and by commands: tools of the repository, which import nothing of weir.
const anywhere = "internal"

// importsExcepted are imports against the layers, each with its reason.
var importsExcepted = map[string]string{}

func layerOf(dir string) (int, string) {
	for i, layer := range layers {
		for _, folder := range layer {
			if dir == folder || strings.HasPrefix(dir, folder+"/") {
				return i, folder
			}
		}
	}
	return -1, ""
}

// Imports run strictly downwards, so that each folder can be read, tested and replaced without those above it.
func TestImportsRunDownwards(t *testing.T) {
	for _, s := range sources(t) {
		for _, spec := range s.file.Imports {
			to, ok := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), "weir/")
			if !ok {
				continue
			}
			if why := importWrong(s, to); why != "" {
				t.Errorf("%s:%d imports %s: %s", s.path, s.line(spec), to, why)
			}
		}
	}
}

func importWrong(s *source, to string) string {
	if strings.HasPrefix(to, anywhere+"/") {
		if s.test || strings.HasPrefix(s.dir, "cmd/") || strings.HasPrefix(s.dir, anywhere+"/") || strings.HasPrefix(s.dir, "conformance") {
			return ""
		}
		return "internal/ is for tests and commands"
	}
	from, folder := layerOf(s.dir)
	below, other := layerOf(to)
	if importsExcepted[folder+" -> "+other] != "" || folder != "" && folder == other {
		return ""
	}
	if s.test && strings.HasSuffix(to, "test") && below >= 0 {
		return "" // a contract's battery beside its interface, such as core/env/envtest
	}
	switch {
	case below < 0:
		return "that folder has no place in the layers of imports_test.go"
	case strings.HasPrefix(s.dir, anywhere+"/"):
		return "internal/ imports nothing of weir"
	case from < 0:
		return "this folder has no place in the layers of imports_test.go"
	case below <= from:
		return "imports run downwards only"
	}
	return ""
}
