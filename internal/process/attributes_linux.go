package process

import "syscall"

// attributes make the kernel kill the program when the thread that started it ends,
// which in a Go program is when the process does.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
