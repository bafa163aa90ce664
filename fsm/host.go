package fsm

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

const maxAddress = 253 // bytes, as a DNS name

var (
	errNoHost = errors.New("neither an IP address nor a host name")
	hostForm  = regexp.MustCompile(`^([A-Za-z0-9_-]+\.)*[A-Za-z0-9_-]+\.?$`)
	// addressForm takes whatever checkAddress takes, and more.
	addressForm = regexp.MustCompile(`^[A-Za-z0-9_:.%-]{1,253}$`)
	zoneForm    = regexp.MustCompile(`^[A-Za-z0-9_.-]*$`)
	// Resolvers take 127.1, 0x7f000001 and 127.0.0.010 for addresses, each in its
	// own way. A name that ends like them is refused (as the URL standard does),
	// so that one address has one form.
	numberForm = regexp.MustCompile(`(^|\.)([0-9]+|0[xX][0-9A-Fa-f]*)\.?$`)
)

// checkAddress judges the address of a collector: an IP address, without
// brackets, or a host name of ASCII letters.
func checkAddress(a string) error {
	if a == "" || len(a) > maxAddress {
		return fmt.Errorf("address of %d bytes, want 1 to %d", len(a), maxAddress)
	}
	if ip, err := netip.ParseAddr(a); err == nil {
		if !zoneForm.MatchString(ip.Zone()) {
			return fmt.Errorf("address %q: %w", a, errNoHost)
		}
		return nil
	}
	if !hostForm.MatchString(a) || numberForm.MatchString(a) {
		return fmt.Errorf("address %q: %w", a, errNoHost)
	}
	return nil
}

// plainHost writes a host in one way: names in lower case without a dot at the
// end, addresses in their shortest form, IPv4 also where it came within IPv6.
func plainHost(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
