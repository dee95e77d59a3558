package purity

import "strings"

// importsBanned are packages of the standard library that the core may not import, with all below them.
var importsBanned = map[string]string{
	"context":           "deadlines are timers of the runtime; use task's",
	"crypto/rand":       "randomness comes from env.Rand",
	"expvar":            "a process global; use env.Metrics",
	"hash/maphash":      "its seed is random",
	"log":               "logs go through env.Logger",
	"math/rand":         "randomness comes from env.Rand",
	"net":               "sockets belong to the world",
	"os":                "files, environment and processes belong to the world",
	"plugin":            "code belongs to the binary",
	"runtime":           "the core must not see its machine",
	"sync":              "the core runs on one loop and takes no lock",
	"syscall":           "system calls belong to the world",
	"testing":           "tests only",
	"time/tzdata":       "time zones belong to the world",
	"unique":            "its map is a process global",
	"weak":              "what it sees depends on the collector",
	"golang.org/x/sys":  "system calls belong to the world",
	"golang.org/x/sync": "the core runs on one loop and takes no lock",
	"path/filepath":     "separators depend on the machine; use path",
	"text/template":     "it ranges over maps by reflection",
}

// importsAllowedBelow are packages under a banned path that are pure.
var importsAllowedBelow = map[string]bool{
	"log/slog": true, // for levels and attributes only, see functionsBanned
}

// importsAllowedIn are imports that one package may have although they are banned, each with its reason.
var importsAllowedIn = map[string]map[string]string{
	"weir/core/compress": {"sync": "sync.Pool for decoders: which one is taken changes nothing, since each is reset"},
}

// thirdParty are the packages from elsewhere that keep the core's rules when used as the core uses them.
var thirdParty = map[string]string{
	"github.com/twmb/franz-go/pkg/kmsg":             "the wire types: plain structs and their encoding",
	"github.com/twmb/franz-go/pkg/kbin":             "bounds-checked reading of bytes",
	"github.com/twmb/franz-go/pkg/kerr":             "the table of error codes",
	"github.com/twmb/franz-go/pkg/kversion":         "the table of versions",
	"go.etcd.io/raft/v3":                            "a state machine; its one random draw is replaced",
	"google.golang.org/protobuf/encoding/protowire": "bounds raft's messages before they are decoded",
	"google.golang.org/protobuf/proto":              "raft's messages; deterministic marshalling only",
	"github.com/klauspost/compress":                 "pure functions over bytes when told to use one goroutine",
	"github.com/pierrec/lz4/v4":                     "pure functions over bytes when told to use one goroutine",
	"github.com/tidwall/btree":                      "an ordered map; used without its locks",
	"github.com/xdg-go/scram":                       "a state machine; its nonces are handed in",
	"github.com/golang-jwt/jwt/v5":                  "parsing; its clock is handed in",
}

func importBanned(path string) string {
	if importsAllowedBelow[path] {
		return ""
	}
	for at := path; at != ""; at = parent(at) {
		if why, banned := importsBanned[at]; banned {
			return why
		}
	}
	first, _, _ := strings.Cut(path, "/")
	if !strings.Contains(first, ".") {
		return weirBanned(path)
	}
	for at := path; at != ""; at = parent(at) {
		if _, allowed := thirdParty[at]; allowed {
			return ""
		}
	}
	return "not in the list of packages that are known to keep the core's rules"
}

// weirBanned restricts the standard library and weir itself: of weir, only the core.
func weirBanned(path string) string {
	if strings.HasPrefix(path, "weir/") && !strings.HasPrefix(path, "weir/core/") {
		return "the core imports nothing of weir but the core"
	}
	return ""
}

func parent(path string) string {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return ""
	}
	return path[:i]
}

// functionsBanned are functions of packages that are else pure.
var functionsBanned = map[string]string{
	"time.Now":            "time comes from env.Clock",
	"time.Since":          "time comes from env.Clock",
	"time.Until":          "time comes from env.Clock",
	"time.Sleep":          "the core never waits; use task's timers",
	"time.After":          "use task's timers",
	"time.AfterFunc":      "use task's timers",
	"time.Tick":           "use task's timers",
	"time.NewTimer":       "use task's timers",
	"time.NewTicker":      "use task's timers",
	"time.LoadLocation":   "time zones belong to the world",
	"log/slog.Debug":      "logs go through env.Logger",
	"log/slog.Info":       "logs go through env.Logger",
	"log/slog.Warn":       "logs go through env.Logger",
	"log/slog.Error":      "logs go through env.Logger",
	"log/slog.Log":        "logs go through env.Logger",
	"log/slog.LogAttrs":   "logs go through env.Logger",
	"log/slog.Default":    "logs go through env.Logger",
	"log/slog.SetDefault": "logs go through env.Logger",
	"fmt.Print":           "output belongs to the world",
	"fmt.Printf":          "output belongs to the world",
	"fmt.Println":         "output belongs to the world",
	"fmt.Scan":            "input belongs to the world",
	"fmt.Scanf":           "input belongs to the world",
	"fmt.Scanln":          "input belongs to the world",
	"google.golang.org/protobuf/proto.Marshal": "its output is not deterministic; use MarshalOptions{Deterministic: true}",
	"reflect.Select":   "its choice is random",
	"reflect.MakeChan": "channels",
}

// ordersBanned are functions that let map order or an unstable sort reach an output.
var ordersBanned = map[string]string{
	"sort.Slice":        "not stable; use slices.SortStableFunc",
	"sort.Sort":         "not stable; use slices.SortStableFunc",
	"slices.SortFunc":   "not stable; use slices.SortStableFunc",
	"slices.SortedFunc": "not stable; use slices.SortedStableFunc",
	"maps.Keys":         "a map's order is random; only slices.Sorted(maps.Keys(m)) is ordered",
	"maps.Values":       "a map's order is random",
	"maps.All":          "a map's order is random",
	"maps.DeleteFunc":   "it calls its function in a map's random order",
}
