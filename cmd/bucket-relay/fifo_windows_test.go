package main

import "github.com/rogpeppe/go-internal/testscript"

// fifo NAME: there are no such files on Windows; scripts ask for [unix] first.
func fifo(ts *testscript.TestScript, _ bool, _ []string) { ts.Fatalf("no named pipes here") }
