package quorum

import (
	"fmt"

	"weir/core/telemetry"
)

// logger is the node's log as raft writes to it. What raft tells in good times is of use only to
// those who look for a fault.
type logger struct{ t *telemetry.Registry }

func (l logger) Debug(...any)                {}
func (l logger) Debugf(string, ...any)       {}
func (l logger) Info(v ...any)               { l.t.Debug("raft: " + fmt.Sprint(v...)) }
func (l logger) Infof(f string, v ...any)    { l.t.Debug("raft: " + fmt.Sprintf(f, v...)) }
func (l logger) Warning(v ...any)            { l.t.Warn("raft: " + fmt.Sprint(v...)) }
func (l logger) Warningf(f string, v ...any) { l.t.Warn("raft: " + fmt.Sprintf(f, v...)) }
func (l logger) Error(v ...any)              { l.t.Error("raft: " + fmt.Sprint(v...)) }
func (l logger) Errorf(f string, v ...any)   { l.t.Error("raft: " + fmt.Sprintf(f, v...)) }
func (l logger) Fatal(v ...any)              { panic("raft: " + fmt.Sprint(v...)) }
func (l logger) Fatalf(f string, v ...any)   { panic("raft: " + fmt.Sprintf(f, v...)) }
func (l logger) Panic(v ...any)              { panic("raft: " + fmt.Sprint(v...)) }
func (l logger) Panicf(f string, v ...any)   { panic("raft: " + fmt.Sprintf(f, v...)) }
