//go:build !race

package membership

const raceOn = false
