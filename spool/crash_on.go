//go:build crashpoints

package spool

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
)

// armed is read once from BUCKET_RELAY_CRASH: <point> or <point>:<n>, where n
// is the crossing at which the process ends, from 1 on.
var armed = sync.OnceValue(func() *trap {
	point, nth, _ := strings.Cut(os.Getenv("BUCKET_RELAY_CRASH"), ":")
	if point == "" {
		return nil
	}
	n, err := strconv.Atoi(nth)
	if err != nil || n < 1 {
		n = 1
	}
	return &trap{point: CrashPoint(point), left: n}
})

type trap struct {
	point CrashPoint
	mu    sync.Mutex
	left  int // guarded by mu
}

// crash ends the process at once, as SIGKILL does, when p is the armed point
// and has been crossed often enough. Nothing is flushed and no defer runs.
func crash(p CrashPoint) {
	t := armed()
	if t == nil || t.point != p {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left--; t.left > 0 {
		return
	}
	fmt.Fprintf(os.Stderr, "crash point %s reached\n", p)
	killSelf()
}
