package durability

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
)

// Refuser is an object store on a bad day: it answers half of all requests with 503.
// A quarter of those it has carried out all the same, as real stores do when only the
// answer is lost.
type Refuser struct {
	next http.Handler

	mutex                 sync.Mutex
	random                *rand.Rand
	refused, lost, served int
}

// NewRefuser stands before next; the seed chooses, by the order in which requests
// come.
func NewRefuser(next http.Handler, seed uint64) *Refuser {
	return &Refuser{next: next, random: rand.New(rand.NewPCG(seed, 2))}
}

// Counts are requests refused, carried out but answered with 503, and served.
func (f *Refuser) Counts() (refused, lost, served int) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.refused, f.lost, f.served
}

func (f *Refuser) choose() (refuse, carryOut bool) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	refuse, carryOut = f.random.IntN(2) == 0, f.random.IntN(4) == 0
	switch {
	case !refuse:
		f.served++
	case carryOut:
		f.lost++
	default:
		f.refused++
	}
	return refuse, carryOut
}

// ServeHTTP implements [http.Handler].
func (f *Refuser) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refuse, carryOut := f.choose()
	if !refuse {
		f.next.ServeHTTP(w, r)
		return
	}
	if carryOut {
		f.next.ServeHTTP(httptest.NewRecorder(), r)
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`)
}
