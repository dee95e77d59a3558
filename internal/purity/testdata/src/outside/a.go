package outside

import (
	crypto "crypto/rand" // want "import of crypto/rand: randomness"
	"fmt"
	"hash/maphash" // want "import of hash/maphash: its seed"
	"log/slog"
	"math/rand/v2" // want "import of math/rand/v2: randomness"
	"net/http"     // want "import of net/http: sockets"
	"os"           // want "import of os: files"
	"reflect"
	"runtime" // want "import of runtime: "
	"time"
)

var shared = map[string]int{}

var counter int

type state struct{ counter int }

func clocks() time.Duration {
	now := time.Now              // want "time.Now: time comes from env.Clock"
	time.Sleep(time.Millisecond) // want "time.Sleep: "
	time.AfterFunc(1, nil)       // want "time.AfterFunc: "
	return time.Since(now())     // want "time.Since: "
}

func world(s *state) {
	rand.Int()
	crypto.Read(nil)
	os.Getenv("HOME")
	http.Get("")
	runtime.NumCPU()
	runtime.SetFinalizer(s, nil)
	_ = maphash.Bytes
	slog.Info("hello")                // want "log/slog.Info: logs"
	fmt.Println("hello")              // want "fmt.Println: output"
	_ = fmt.Sprintf("%p", s)          // want "%p prints an address"
	reflect.ValueOf(s).Pointer()      // want "reflect: Pointer"
	reflect.ValueOf(shared).MapKeys() // want "reflect: MapKeys"
}

func globals(s *state) {
	counter++         // want "assignment to package variable counter"
	shared["key"] = 1 // want "assignment to package variable shared"
	os.Args = nil     // want "assignment to package variable Args"
	local := counter
	local++
	s.counter = local
}
