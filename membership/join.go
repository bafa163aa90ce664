package membership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// How often nodes are looked for. All nodes of a network look, each for one node
// at a time, so the pause grows with their number: a dead node is dialled about
// once a second by all of them together.
const (
	firstPause = 200 * time.Millisecond // while nobody is found; doubles
	longPause  = 15 * time.Second       // up to this
	minRejoin  = 3 * time.Second        // once someone is found, a second for each member
	maxRejoin  = 30 * time.Second       // but no less often than this

	goneTried   = 8  // nodes that are gone, tried beside the seeds while nobody is found
	joinsAtOnce = 16 // streams dialled at a time
)

// joinLoop looks for nodes for as long as the pool is open: for anyone while
// this node is alone, and then for seeds and failed nodes that are not there,
// one at a time. The second is what heals a network that was cut in two for
// long: the library forgets the dead within a minute.
func (p *Pool) joinLoop() {
	tries := 0
	for {
		alone := p.seek(tries)
		last := time.Now()
		if tries++; !alone {
			tries = 0
		}
		if !p.pause(last, tries) {
			return
		}
	}
}

// pause waits until the next try is due and reports false when the pool closes.
// It looks once a second whether this node became alone meanwhile.
func (p *Pool) pause(last time.Time, tries int) bool {
	wait := jitter(min(firstPause<<min(max(tries-1, 0), 10), longPause))
	for {
		p.mu.Lock()
		there := p.table.there()
		p.mu.Unlock()
		due := last.Add(wait)
		if there > 0 {
			due = last.Add(jitter(min(max(time.Duration(there+1)*time.Second, minRejoin), maxRejoin)))
		}
		left := min(time.Until(due), time.Second)
		if left <= 0 {
			return p.loops.Err() == nil
		}
		timer := time.NewTimer(left)
		select {
		case <-p.loops.Done():
			timer.Stop()
			return false
		case <-p.reseed:
			timer.Stop()
			return true
		case <-timer.C:
		}
	}
}

// jitter varies a pause by a quarter either way, so that nodes that were started
// together do not dial together.
func jitter(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2) }

// seek makes one try and reports whether this node is alone after it.
func (p *Pool) seek(tries int) (alone bool) {
	p.mu.Lock()
	seeds := p.seeds
	there, gone := p.table.addresses()
	p.mu.Unlock()
	found, problem := p.resolve(seeds)
	targets := missing(append(found, parseAll(gone[:min(len(gone), goneTried)])...), there)
	if len(there) > 0 {
		targets = pick(missing(append(found, parseAll(gone)...), there))
	}
	problem = errors.Join(problem, p.join(targets))
	return p.sought(problem, len(there) > 0, tries)
}

// sought notes how a try ended, and logs what is new about it.
func (p *Pool) sought(problem error, wasThere bool, tries int) (alone bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	alone = p.table.there() == 0
	reason := ""
	if alone && problem != nil {
		reason = "no other node found: " + plain(problem)
	}
	if alone && !wasThere && problem != nil && tries == 0 {
		p.bridge.log(slog.LevelInfo, "no other node found yet", slog.String("reason", reason))
	}
	if reason != p.alone {
		p.alone = reason
		p.changedLocked()
	}
	return alone
}

// resolve returns the addresses of all seeds that are not this node, and why
// there are none for others. The seeds are resolved at the same time: a name
// server that hangs holds up each of them equally.
func (p *Pool) resolve(seeds []string) ([]netip.AddrPort, error) {
	found := make([][]netip.AddrPort, len(seeds))
	errs := make([]error, len(seeds))
	var wg sync.WaitGroup
	for i, seed := range seeds {
		wg.Go(func() { found[i], errs[i] = p.resolveSeed(seed) })
	}
	wg.Wait()
	var out []netip.AddrPort
	for _, one := range found {
		out = append(out, one...)
	}
	return out, errors.Join(errs...)
}

func (p *Pool) resolveSeed(seed string) ([]netip.AddrPort, error) {
	host, port, err := splitPort(seed, DefaultPort)
	if err != nil {
		return nil, err
	}
	ips := []netip.Addr{}
	if ip, err := netip.ParseAddr(host); err == nil {
		ips = append(ips, ip.Unmap())
	} else {
		ctx, cancel := context.WithTimeout(p.loops, lookupTimeout)
		defer cancel()
		if ips, err = p.transport.Lookup(ctx, host); err != nil {
			return nil, fmt.Errorf("%s: %w", seed, err)
		}
	}
	var out []netip.AddrPort
	for _, ip := range ips {
		addr := netip.AddrPortFrom(ip, uint16(port))
		if addr.String() != p.Addr() && !p.transport.Own(addr) {
			out = append(out, addr)
		}
	}
	return out, nil
}

// join does a full exchange with every target, several at a time, and returns
// what went wrong. That a target answers does not mean that it takes this node
// in: who is there afterwards is told by the members.
func (p *Pool) join(targets []netip.AddrPort) error {
	errs := make([]error, len(targets))
	slots := make(chan struct{}, joinsAtOnce)
	var wg sync.WaitGroup
	for i, target := range targets {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if p.loops.Err() != nil {
				return
			}
			if _, err := p.list.Join([]string{target.String()}); err != nil {
				errs[i] = errors.New(plain(err))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// missing returns the targets that are not there, each once.
func missing(targets []netip.AddrPort, there map[string]bool) []netip.AddrPort {
	seen := make(map[netip.AddrPort]bool, len(targets))
	var out []netip.AddrPort
	for _, target := range targets {
		if !there[target.String()] && !seen[target] {
			seen[target] = true
			out = append(out, target)
		}
	}
	return out
}

// pick returns one target at random, or none if there are none.
func pick(targets []netip.AddrPort) []netip.AddrPort {
	if len(targets) == 0 {
		return nil
	}
	i := rand.IntN(len(targets))
	return targets[i : i+1]
}

func parseAll(addresses []string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, address := range addresses {
		if addr, err := netip.ParseAddrPort(address); err == nil {
			out = append(out, addr)
		}
	}
	return out
}
