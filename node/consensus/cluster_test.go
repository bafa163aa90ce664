package consensus

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestClusterGrowsAndShrinks(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.start("n1", 1)
		c.becomes(3*time.Second, "n1")
		c.start("n2", 0)
		c.becomes(3*time.Second, "n1 (n2)")
		c.stays(time.Minute, "n1 (n2)")
		c.start("n3", 0)
		c.becomes(3*time.Second, "n1 (n2) (n3)")
		c.becomes(13*time.Second, "n1 n2 n3")
		c.start("n4", 0)
		c.becomes(3*time.Second, "n1 n2 n3 (n4)")
		c.stays(time.Minute, "n1 n2 n3 (n4)")
		c.start("n5", 0)
		c.becomes(16*time.Second, "n1 n2 n3 n4 n5")
		c.start("n6", 0)
		c.start("n7", 0)
		c.stays(5*time.Minute, "n1 n2 n3 n4 n5")
		if got := c.catalogue(); len(got) != 7 {
			t.Errorf("catalogue %v, want all seven", got)
		}
		for _, id := range []string{"n6", "n7"} {
			if s := c.by[id].Status(); s.Role != RoleFollower || s.HasState {
				t.Errorf("%s is beyond the voters and has %+v", id, s)
			}
		}
		c.leave("n7")
		c.leave("n5")
		c.becomes(16*time.Second, "n1 n2 n3 n4 n6")
		c.leave(c.leader().cfg.NodeID)
		c.until(5*time.Second, "three voters and a spare", func() bool {
			return len(strings.Fields(c.shape())) == 4 && strings.Count(c.shape(), "(") == 1
		})
		c.leave(strings.Trim(strings.Fields(c.shape())[3], "()"))
		c.leave(c.leader().cfg.NodeID)
		c.until(5*time.Second, "one voter and a spare", func() bool {
			return len(strings.Fields(c.shape())) == 2 && strings.Count(c.shape(), "(") == 1
		})
		c.leave(c.leader().cfg.NodeID)
		mustPropose(t, c.mustLead(), "last")
		if got := c.catalogue(); len(got) != 1 {
			t.Errorf("catalogue %v, want the last one", got)
		}
	})
}

func TestClusterForms(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		ids := []string{"n3", "n1", "n2"}
		for _, id := range ids {
			c.start(id, 3)
			pause(t.Context(), 5*time.Second)
		}
		c.becomes(5*time.Second, "n1 n2 n3")
		c.until(2*time.Second, "network id everywhere", func() bool {
			id := c.by["n1"].Status().NetworkID
			return id != "" && c.by["n2"].Status().NetworkID == id && c.by["n3"].Status().NetworkID == id
		})
		if got := c.catalogue(); len(got) != 3 {
			t.Errorf("catalogue %v", got)
		}
		for id, p := range c.by {
			if s := p.Status(); s.Reason != "" || s.LeaderID == "" {
				t.Errorf("%s: %+v", id, s)
			}
		}
	})
}

// A dead voter loses its vote to a spare, learns of it when it is back, and is
// the spare from then on.
func TestClusterSwapsAVoter(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.begin("n1", "n2", "n3", "n4")
		dead := other(c.nodes, c.leader()).cfg.NodeID
		c.kill(dead)
		c.stays(28*time.Second, "n1 n2 n3 (n4)")
		c.until(5*time.Second, "swap", func() bool { return strings.HasSuffix(c.shape(), "n4 ("+dead+")") })
		c.start(dead, 3)
		c.until(5*time.Second, "the dead to learn of it", func() bool { return c.by[dead].Status().Role == RoleNonvoter })
		c.stays(time.Minute, c.shape())
	})
}

// begin forms a network of three and lets the others join.
func (c *cluster) begin(ids ...string) {
	c.t.Helper()
	for _, id := range ids {
		expect := 3
		if id > "n3" {
			expect = 0
		}
		c.start(id, expect)
	}
	want := len(ids) - (1 - len(ids)%2)
	c.until(30*time.Second, "voters", func() bool {
		shape := strings.Fields(c.shape())
		return len(shape) == len(ids) && strings.Count(c.shape(), "(") == len(ids)-want
	})
}

// One that was swapped out of a full network learns, when it is back, that it
// is no server any more, and follows the table.
func TestClusterLetsASwappedVoterKnow(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.begin("n1", "n2", "n3", "n4", "n5")
		c.start("n6", 0)
		c.stays(time.Minute, "n1 n2 n3 n4 n5")
		dead := other(c.nodes, c.leader()).cfg.NodeID
		c.kill(dead)
		c.until(50*time.Second, "swap", func() bool { return strings.HasSuffix(c.shape(), "n4 n5 n6 ("+dead+")") })
		c.start(dead, 3)
		c.until(5*time.Second, "the dead to be out", func() bool { return len(strings.Fields(c.shape())) == 5 })
		c.until(5*time.Second, "the dead to learn of it", func() bool { return c.by[dead].Status().Role == RoleFollower })
		leader := c.leader()
		c.stays(5*time.Minute, c.shape())
		if c.leader() != leader {
			t.Error("the one that is out has deposed the leader")
		}
	})
}

// The leader dies when the network has grown half way, to four voters.
func TestClusterLeaderKilledAtPromotion(t *testing.T) {
	for _, joined := range []string{"n4", "n5"} {
		inCluster(t, func(t *testing.T, c *cluster) {
			c.begin("n1", "n2", "n3")
			c.start("n4", 0)
			c.start("n5", 0)
			c.until(20*time.Second, "fourth voter", func() bool {
				p := c.leader()
				return p != nil && slices.ContainsFunc(p.Servers(), func(s Server) bool { return s.ID == joined && s.Voter })
			})
			c.kill(c.leader().cfg.NodeID)
			c.until(20*time.Second, "five voters", func() bool {
				return c.leader() != nil && len(strings.Fields(c.shape())) == 5 && !strings.Contains(c.shape(), "(")
			})
			mustPropose(t, c.mustLead(), "after")
		})
	}
}

// Everything stops and comes back elsewhere.
func TestClusterMovesAsAWhole(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.begin("n1", "n2", "n3")
		mustPropose(t, c.leader(), "before")
		old := c.leader().Servers()
		for _, id := range []string{"n1", "n2", "n3"} {
			c.kill(id)
		}
		for _, id := range []string{"n1", "n2", "n3"} {
			c.start(id, 3)
		}
		c.becomes(5*time.Second, "n1 n2 n3")
		c.until(3*time.Second, "addresses", func() bool {
			for i, s := range c.leader().Servers() {
				if s.Address != c.by[s.ID].Addr() || s.Address == old[i].Address {
					return false
				}
			}
			return true
		})
		c.mustHave(c.leader(), "before")
	})
}

// A node whose disk was wiped has a new id, its old name and its old address.
func TestClusterReplacesAWipedNode(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.begin("n1", "n2", "n3")
		wiped := other(c.nodes, c.leader()).cfg.NodeID
		c.kill(wiped)
		if err := os.RemoveAll(c.config(wiped).Dir); err != nil {
			t.Fatal(err)
		}
		c.names["n4"] = "name-" + wiped
		c.start("n4", 3)
		c.until(15*time.Second, "new one in the place of the old", func() bool {
			shape := c.shape()
			return !strings.Contains(shape, wiped) && !strings.Contains(shape, "(") && strings.HasSuffix(shape, "n4") &&
				!slices.Contains(c.catalogue(), wiped)
		})
		c.stays(5*time.Minute, c.shape())
	})
}
