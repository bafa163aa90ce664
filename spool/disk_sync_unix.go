//go:build unix && !linux

package spool

const dirsCanSync = true
