//go:build race

package membership

// raceOn tells tests that take much processor time to take less.
const raceOn = true
