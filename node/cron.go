package node

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

var cronParser = cron.NewParser(
	cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// cronEpoch is where ParseCron looks for the first firing. It is fixed so that
// the same text is always judged alike, and a leap year so that 29 February is
// found.
var cronEpoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// ParseCron reads a schedule of six fields (second, minute, hour, day of month,
// month, day of week), of five (then the second is 0), or a descriptor such as
// @hourly or "@every 30s". Times are UTC.
//
// It refuses what the library would misread: a time zone in front (which can
// make it panic), an empty field and a date that never comes (which it would
// search for years), and an interval of less than, or not of whole, seconds
// (which it would round). It never panics.
func ParseCron(spec string) (schedule cron.Schedule, err error) {
	defer func() {
		if r := recover(); r != nil {
			schedule, err = nil, errors.New("not a schedule")
		}
	}()
	spec = strings.TrimSpace(spec)
	if err := checkCronText(spec); err != nil {
		return nil, err
	}
	schedule, err = cronParser.Parse(spec)
	if err != nil {
		return nil, err
	}
	fields, ok := schedule.(*cron.SpecSchedule)
	if !ok {
		return schedule, nil
	}
	// The library's default is the zone of whatever time it is asked about.
	fields.Location = time.UTC
	for _, bits := range []uint64{fields.Second, fields.Minute, fields.Hour, fields.Dom, fields.Month, fields.Dow} {
		if bits == 0 {
			return nil, errors.New("a field names no value")
		}
	}
	if schedule.Next(cronEpoch).IsZero() {
		return nil, errors.New("never fires: there is no such date")
	}
	return schedule, nil
}

// checkCronText refuses what must not reach the library.
func checkCronText(spec string) error {
	const maxBytes = 256
	switch {
	case spec == "":
		return errors.New("empty")
	case len(spec) > maxBytes:
		return fmt.Errorf("longer than %d bytes", maxBytes)
	case strings.HasPrefix(spec, "TZ="), strings.HasPrefix(spec, "CRON_TZ="):
		return errors.New("has a time zone; schedules are in UTC")
	}
	every, ok := strings.CutPrefix(spec, "@every")
	if !ok {
		return nil
	}
	d, err := time.ParseDuration(strings.TrimSpace(every))
	switch {
	case err != nil:
		return fmt.Errorf("%s is not a duration", quote(strings.TrimSpace(every)))
	case d < time.Second:
		return errors.New("an interval of less than 1s")
	case d%time.Second != 0:
		return errors.New("an interval of not whole seconds")
	}
	return nil
}
