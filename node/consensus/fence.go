package consensus

import (
	"errors"
	"fmt"
	"io"
)

// A connection begins with a fence, so that raft's requests reach the node they
// are meant for and no other: addresses are given to other nodes, nodes to other
// networks, and raft itself checks neither.
//
//	dialler → listener   "BRraft" · version (1 byte) · 3 × ( length (1 byte) · bytes ):
//	                     the network, empty if not known yet · the node dialled · the node that dials
//	listener → dialler   verdict (1 byte)
//
// The dialler sends its first request without waiting for the verdict; a
// listener that refuses closes after it, having read nothing beyond the fence.
type fence struct {
	network, to, from string
}

const (
	fenceMagic   = "BRraft"
	fenceVersion = 1
)

// verdict is the listener's answer to a fence. Numbers are never changed or reused.
type verdict byte

const (
	welcome      verdict = 0
	otherNode    verdict = 1
	otherNetwork verdict = 2
	otherVersion verdict = 3
)

func (v verdict) err() error {
	switch v {
	case welcome:
		return nil
	case otherNode:
		return errOtherNode
	case otherNetwork:
		return errOtherNetwork
	case otherVersion:
		return errOtherVersion
	}
	return fmt.Errorf("refused with %d", byte(v))
}

// Why a connection was refused.
var (
	errOtherNode    = errors.New("another node has this address now")
	errOtherNetwork = errors.New("a node of another network")
	errOtherVersion = errors.New("a version of the connection that it does not know")
	errNoFence      = errors.New("not a connection of raft")
)

func (f fence) encode() []byte {
	b := append([]byte(fenceMagic), fenceVersion)
	for _, s := range []string{f.network, f.to, f.from} {
		b = append(b, byte(len(s)))
		b = append(b, s...)
	}
	return b
}

// readFence reads exactly one fence from r. errNoFence and errOtherVersion
// leave the rest unread.
func readFence(r io.Reader) (fence, error) {
	var head [len(fenceMagic) + 1]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return fence{}, err
	}
	if string(head[:len(fenceMagic)]) != fenceMagic {
		return fence{}, errNoFence
	}
	if head[len(fenceMagic)] != fenceVersion {
		return fence{}, errOtherVersion
	}
	var f fence
	for _, s := range []*string{&f.network, &f.to, &f.from} {
		var length [1]byte
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return fence{}, err
		}
		b := make([]byte, length[0])
		if _, err := io.ReadFull(r, b); err != nil {
			return fence{}, err
		}
		*s = string(b)
	}
	return f, nil
}

// judge is what the listener node of network says to f.
func (f fence) judge(node, network string) verdict {
	if f.to != node {
		return otherNode
	}
	if f.network != "" && network != "" && f.network != network {
		return otherNetwork
	}
	return welcome
}
