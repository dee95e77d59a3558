package bill

import "weir/core/env"

// Request is a kind of request, as object stores tell them apart on their bills.
type Request uint8

const (
	// Put creates an object.
	Put Request = iota
	// Multipart begins a multipart upload, or joins its parts.
	Multipart
	// Part sends one part of an upload.
	Part
	// Copy has the store copy one part of an upload from another object.
	Copy
	// Abort gives a multipart upload up.
	Abort
	// Get reads a range of an object.
	Get
	// Head reads the size of an object.
	Head
	// Delete deletes an object.
	Delete
	// List is a page of a listing.
	List
	// Requests is how many kinds there are.
	Requests
)

var requestNames = [Requests]string{"put", "multipart", "part", "copy", "abort", "get", "head", "delete", "list"}

// String returns the kind's name, as metrics have it.
func (r Request) String() string { return requestNames[r] }

// Tally takes what is counted.
type Tally interface {
	// Count takes n requests of one kind.
	Count(r Request, p env.Purpose, n int64)
	// Moved takes bytes of bodies, successful or not: those sent to the store, and those received from it.
	Moved(p env.Purpose, sent, received int64)
}

// PartBytes is the largest body that is sent in one request, and the size of the parts of larger ones, over a link that
// is fast enough for the load. A body in parts costs two requests more than it has parts, so that smaller parts would cost
// the most where many streams have objects of their own.
const PartBytes = 32 << 20

// Operation counts an operation that was completed by a store that sends no requests (a directory, a simulation), as
// if it had been done by S3 at once: a body above [PartBytes] is a multipart upload, whose key is looked for before its
// parts are joined.
func Operation(to Tally, e env.Event) {
	switch o := e.(type) {
	case *env.PutObject:
		putOperation(to, o)
	case *env.ComposeObject:
		composeOperation(to, o)
	case *env.GetObject:
		kind := Get
		if o.Asked() == 0 {
			kind = Head
		}
		to.Count(kind, o.For, 1)
		to.Moved(o.For, 0, int64(o.N))
	case *env.DeleteObject:
		to.Count(Delete, o.For, 1)
	case *env.ListObjects:
		to.Count(List, o.For, 1)
	}
}

// composeOperation counts each run as one part that the store copies, and each piece of bytes as one that is sent.
func composeOperation(to Tally, o *env.ComposeObject) {
	to.Count(Multipart, o.For, 2)
	to.Count(Head, o.For, 1)
	for i := range o.Pieces {
		if p := &o.Pieces[i]; p.Key != "" {
			to.Count(Copy, o.For, 1)
		} else {
			to.Count(Part, o.For, 1)
			to.Moved(o.For, int64(len(p.Data)), 0)
		}
	}
}

func putOperation(to Tally, o *env.PutObject) {
	bytes := int64(0)
	for _, piece := range o.Body {
		bytes += int64(len(piece))
	}
	to.Moved(o.For, bytes, 0)
	if bytes <= PartBytes {
		to.Count(Put, o.For, 1)
		return
	}
	to.Count(Part, o.For, (bytes+PartBytes-1)/PartBytes)
	to.Count(Multipart, o.For, 2)
	to.Count(Head, o.For, 1)
}
