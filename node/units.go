package node

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

var (
	sizeForm  = regexp.MustCompile(`^([0-9]{1,19}) ?([A-Za-z]*)$`)
	sizeUnits = map[string]int64{
		"": 1, "b": 1,
		"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
		"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
	}
)

// parseSize reads a number of bytes: a whole number with B, KB, MB, GB or TB
// (powers of 1000), KiB, MiB, GiB or TiB (powers of 1024), or no unit. Capitals
// make no difference. Half units are refused: "1.5GiB" is 1536MiB.
func parseSize(s string) (int64, error) {
	m := sizeForm.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%s is not a size", quote(s))
	}
	unit, ok := sizeUnits[strings.ToLower(m[2])]
	if !ok {
		return 0, fmt.Errorf("%s has no known unit", quote(s))
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%s is too large", quote(s))
	}
	return n * unit, nil
}

// parseFileMode reads permission bits as chmod does: octal, with or without a
// leading 0 or 0o. Set-user-id, set-group-id and sticky are refused.
func parseFileMode(s string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	if err != nil {
		return 0, fmt.Errorf("%s is not an octal mode", quote(s))
	}
	if n > 0o777 {
		return 0, errors.New("has more than the permission bits 0777")
	}
	return fs.FileMode(n), nil
}

// absolute makes a path of a configuration absolute. What is relative is so to
// base, the directory of the file that names it, hence a file means the same
// wherever the node is started.
func absolute(base, path string) string {
	if path == "" {
		return ""
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(base, path)
	}
	abs, err := filepath.Abs(path)
	if err != nil { // the working directory is gone; the check of directories will say so
		return filepath.Clean(path)
	}
	return abs
}
