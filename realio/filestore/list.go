package filestore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"weir/core/env"
)

// list walks the folders in byte order of keys. A page reads the names of the folders that it
// touches, and the sizes of the objects that it returns, no more.
func (s *Store) list(o *env.ListObjects) {
	p := page{ListObjects: o}
	o.Objects, o.More, o.Outcome, o.Err = nil, false, env.OutcomeDone, nil
	err := p.walk(s.root, "")
	if err == nil && len(o.Objects) == 0 {
		err = s.present()
	}
	if err != nil {
		o.Objects, o.More, o.Outcome, o.Err = nil, false, env.OutcomeFailed, s.failure("list", o.Prefix, err)
	}
}

// page is a listing in the making.
type page struct{ *env.ListObjects }

// entry is an object, or a folder, whose key ends in '/'. The order of these keys is the order of
// all keys under them.
type entry struct {
	key string
	fs.DirEntry
}

func (p *page) walk(dir, prefix string) error {
	entries, err := p.entries(dir, prefix)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if p.More {
			return nil
		}
		name := filepath.Join(dir, e.Name())
		if e.IsDir() {
			err = p.walk(name, e.key)
		} else {
			err = p.add(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// entries are those of a folder that may hold something for the page, in order.
func (p *page) entries(dir, prefix string) ([]entry, error) {
	found, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries := make([]entry, 0, len(found))
	for _, f := range found {
		if key, ok := entryKey(prefix, f.Name(), f.IsDir()); ok && p.wants(key, f) {
			entries = append(entries, entry{key, f})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	return entries, nil
}

func (p *page) wants(key string, f fs.DirEntry) bool {
	if f.IsDir() {
		return (strings.HasPrefix(key, p.Prefix) || strings.HasPrefix(p.Prefix, key)) &&
			(key > p.StartAfter || strings.HasPrefix(p.StartAfter, key))
	}
	return f.Type().IsRegular() && strings.HasPrefix(key, p.Prefix) && key > p.StartAfter
}

// add appends an object, unless it was deleted meanwhile or the page is full.
func (p *page) add(e entry) error {
	if len(p.Objects) == p.Limit {
		p.More = true
		return nil
	}
	info, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		p.Objects = append(p.Objects, env.ObjectInfo{Key: e.key, Size: info.Size()})
	}
	return err
}
