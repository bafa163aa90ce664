package main

import (
	"os"
	"syscall"
)

// reloadSignals make a node read its configuration again. Windows never sends
// this one; a list without signals would mean all of them.
var reloadSignals = []os.Signal{syscall.SIGHUP}
