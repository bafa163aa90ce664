package node

import (
	"strings"
	"testing"
	"time"
)

func TestParseCronFiresInUTC(t *testing.T) {
	from := time.Date(2026, 3, 1, 12, 0, 5, 0, time.FixedZone("east", 5*3600+1800))
	for spec, want := range map[string]string{
		"*/10 * * * * *": "2026-03-01T06:30:10Z",
		" */5 * * * * ":  "2026-03-01T06:35:00Z", // five fields: the second is 0
		"0 0 2 * * *":    "2026-03-02T02:00:00Z",
		"0 0 0 29 2 *":   "2028-02-29T00:00:00Z",
		"@hourly":        "2026-03-01T07:00:00Z",
		"@every 90s":     "2026-03-01T06:31:35Z",
		"0 0 0 1 JAN ?":  "2027-01-01T00:00:00Z",
	} {
		s, err := ParseCron(spec)
		if err != nil {
			t.Errorf("ParseCron(%q): %v", spec, err)
			continue
		}
		if got := s.Next(from).UTC().Format(time.RFC3339); got != want {
			t.Errorf("%q fires at %s, want %s", spec, got, want)
		}
	}
}

func TestParseCronRefusesWhatTheLibraryMisreads(t *testing.T) {
	for spec, want := range map[string]string{
		"":                                      "empty",
		"TZ=UTC":                                "time zone", // panics in the library
		"CRON_TZ=":                              "time zone",
		"TZ=UTC */10 * * * * *":                 "time zone",
		"@every 0s":                             "less than 1s", // becomes 1s in the library
		"@every 500ms":                          "less than 1s",
		"@every -5s":                            "less than 1s",
		"@every 1500ms":                         "whole seconds",
		"@every soon":                           "not a duration",
		"@every":                                "not a duration",
		"0 0 31 2 *":                            "never fires",
		"0 0 0 30 2 *":                          "never fires",
		", * * * * *":                           "names no value", // the library looks at every second of five years
		"* , * * * *":                           "names no value",
		"* * * *":                               "expected 5 to 6 fields",
		"61 * * * * *":                          "above maximum",
		"*/0 * * * * *":                         "positive number",
		"@reboot":                               "unrecognized",
		strings.Repeat("1,", 200) + "1 * * * *": "longer than",
	} {
		if s, err := ParseCron(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseCron(%q) = %v, %v; want an error with %q", spec, s, err, want)
		}
	}
}

func FuzzParseCron(f *testing.F) {
	for _, s := range []string{"*/10 * * * * *", "TZ=0", "@every 1s", "1-5/2 MON-FRI", ",,,,,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		s, err := ParseCron(spec)
		if err == nil && s.Next(cronEpoch).IsZero() {
			t.Errorf("%q is taken but never fires", spec)
		}
	})
}
