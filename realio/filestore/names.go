package filestore

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// How keys become paths. None of ',', '+' and '%' is a letter of keys.
//
//	key              path
//	a                a
//	a/b              a+/b          a folder ends in '+', so that "a" and "a/b" live side by side
//	a//b             a+/+/b
//	a/               a+/%          a last segment that is no file name is marked by '%'
//	..               %..
//	-                ,tmp/         files not yet named, see session
const (
	folderMark   = "+"
	plainMark    = "%"
	sessionsName = ",tmp"

	segmentBytesMax = 254 // of a file name's 255, for a mark
	keyBytesMax     = 1024
)

// locate returns the folder and the file name of a key, relative to the root.
func locate(key string) (dir, name string, err error) {
	if !isKey(key) || key == "" || len(key) > keyBytesMax {
		return "", "", fmt.Errorf("%q is not an object key", key)
	}
	segments := strings.Split(key, "/")
	for _, segment := range segments {
		if len(segment) > segmentBytesMax {
			return "", "", fmt.Errorf("a segment of %d bytes in a key is longer than the %d that files can be named with: %w",
				len(segment), segmentBytesMax, unix.ENAMETOOLONG)
		}
	}
	last := len(segments) - 1
	if last > 0 {
		dir = strings.Join(segments[:last], folderMark+"/") + folderMark
	}
	return dir, fileName(segments[last]), nil
}

func fileName(segment string) string {
	if segment == "" || segment == "." || segment == ".." {
		return plainMark + segment
	}
	return segment
}

// entryKey is the inverse for one entry of a folder whose keys start with prefix: the key of an
// object, or what the keys in a folder start with. Not ok: no entry of the store's.
func entryKey(prefix, name string, folder bool) (key string, ok bool) {
	if folder {
		segment, marked := strings.CutSuffix(name, folderMark)
		return prefix + segment + "/", marked && isKey(segment)
	}
	segment := strings.TrimPrefix(name, plainMark)
	return prefix + segment, isKey(segment) && fileName(segment) == name
}

// isKey reports whether text has only the letters of keys.
func isKey(text string) bool {
	for _, c := range []byte(text) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("/-_.=", c) >= 0) {
			return false
		}
	}
	return true
}
