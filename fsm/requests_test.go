package fsm

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
)

func TestARepeatedRequestIsAnsweredAndNotApplied(t *testing.T) {
	put := Command{ReqID: "put", Time: noon, Body: own("i", "n", 0)}
	refused := Command{ReqID: "refused", Time: noon, Body: ClusterDelete{Name: "c"}}
	r := newReplica(t)
	first, err := r.run(put)
	if err != nil || !first.Changed || first.Index != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	_, wrong := r.run(refused)
	if !errors.Is(wrong, ErrInUse) {
		t.Fatal(wrong)
	}
	r.must(CollectorDelete{ID: "i"}) // both would now end in another way

	check := func(r *replica) {
		t.Helper()
		changed := r.Changed()
		if got, err := r.run(put); err != nil || got != first {
			t.Errorf("%+v, %v, want %+v", got, err, first)
		}
		if got, err := r.run(refused); !errors.Is(err, ErrInUse) || err.Error() != wrong.Error() || got.Changed {
			t.Errorf("%+v, %v, want %v", got, err, wrong)
		}
		// The id is what counts.
		if got, err := r.run(Command{ReqID: "put", Time: noon, Body: NetworkInit{NetworkID: "x"}}); err != nil || got != first {
			t.Errorf("%+v, %v", got, err)
		}
		v := r.View()
		if len(v.Table.Clusters["c"].Collectors) != 0 || v.NetworkID != "" || isClosed(changed) {
			t.Errorf("it was applied: %+v", v)
		}
		if v.Applied != r.index {
			t.Errorf("applied %d, want %d", v.Applied, r.index)
		}
	}
	check(r)
	check(restored(t, r.snapshot(), r.index))
}

func TestOldRequestsAreForgottenInOrder(t *testing.T) {
	r := newReplica(t)
	sent := int64(0)
	send := func(i int) Result {
		t.Helper()
		sent++ // so that applying it again would change something
		res, err := r.run(Command{ReqID: fmt.Sprint(i), Body: ClusterPut{Name: "c", FailoverAfterMS: 1000 + sent}})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	for i := range maxRequests {
		send(i)
	}
	for _, i := range []int{0, maxRequests - 1} {
		if res := send(i); res.Index != uint64(i+1) {
			t.Errorf("request %d was not remembered: %+v", i, res)
		}
	}
	send(maxRequests) // pushes out 0
	r = restored(t, r.snapshot(), r.index)
	if n := len(r.s.requests.outcomes); n != maxRequests || len(r.s.requests.ring) != n {
		t.Errorf("%d are remembered", n)
	}
	if res := send(1); res.Index != 2 {
		t.Errorf("request 1 was not remembered: %+v", res)
	}
	if res := send(0); res.Index != r.index { // pushes out 1
		t.Errorf("request 0 was still remembered: %+v", res)
	}
	if res := send(2); res.Index != 3 {
		t.Errorf("request 2 was not remembered: %+v", res)
	}
	if res := send(1); res.Index != r.index {
		t.Errorf("request 1 was still remembered: %+v", res)
	}
}

func TestRequestsAreListedOldestFirst(t *testing.T) {
	r := newRequests()
	var want []string
	for i := range maxRequests + maxRequests/2 {
		r.put(fmt.Sprint(i), Outcome{})
		want = append(want, fmt.Sprint(i))
	}
	var got []string
	for _, a := range r.list() {
		got = append(got, a.reqID)
	}
	if !reflect.DeepEqual(got, want[maxRequests/2:]) {
		t.Errorf("%d from %s to %s", len(got), got[0], got[len(got)-1])
	}
}
