package spool

import (
	"errors"

	"golang.org/x/sys/windows"
)

func mkfifo(string) error { return errors.ErrUnsupported }

var errCrossDevice = windows.ERROR_NOT_SAME_DEVICE
