package disk

import "fmt"

func openDevice(o Options) (*Disk, error) { return nil, fmt.Errorf("%q is a block device", o.Path) }
