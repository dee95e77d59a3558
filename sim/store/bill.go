package store

import (
	"fmt"
	"strings"

	"weir/core/env"
)

// checkPurpose: whatever the core asks for, it says why.
func checkPurpose(p env.Purpose) {
	if p == env.PurposeUnstated {
		panic("sim: an operation of the object store that nobody says the purpose of")
	}
}

func checkKey(key string) {
	ok := len(key) > 0 && len(key) <= 1024
	for i := 0; i < len(key); i++ {
		c := key[i]
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("/-_.=", c) >= 0)
	}
	if !ok {
		panic(fmt.Sprintf("sim: bad key %q", key))
	}
}

// Size is the bytes of all objects.
func (s *Store) Size() (bytes int64) {
	for _, key := range s.keys {
		bytes += int64(len(s.bodies[key].Body))
	}
	return bytes
}
