package faults

import "errors"

// supported reports why the decorators cannot do a fault, or nil.
func supported(f *Fault, process bool) error {
	if err := f.Validate(); err != nil {
		return err
	}
	switch f.Target.Kind {
	case Brokers:
		return supportedProcess(f, process)
	case Disks:
		if f.Effect == Shear || f.Effect == Restore || f.Effect == Lose {
			return errors.New("it takes a simulated disk")
		}
	case Store:
		if f.Effect == Join {
			return errors.New("its parts are not seen here")
		}
	case Link:
		return supportedLink(f)
	}
	return nil
}

var errOtherEnd = errors.New("it cannot tell yet which broker is at the other end of a link")

func supportedProcess(f *Fault, process bool) error {
	switch {
	case f.Effect == Crash:
		return errors.New("power is not its to cut: kill")
	case f.Effect == Isolate:
		return errOtherEnd
	case f.Effect == Clone:
		return errors.New("it has one machine")
	case f.When > NextPut:
		return errors.New("it knows no such moment; it knows when=put")
	case f.Effect == Pause && f.For == 0:
		return errors.New("nothing would end it: it needs for")
	case !process:
		return errors.New("its process is not its own")
	}
	return nil
}

func supportedLink(f *Fault) error {
	t := f.Target
	switch {
	case t.At.Role == Client || t.To.Role == Client:
		return errors.New("its clients have no numbers: link:clients->nodes")
	case t.At.Role <= Zone && t.To.Role <= Zone:
		return errOtherEnd
	case f.Effect == Slow:
		return errors.New("it does not know how long a real link takes")
	}
	return nil
}
