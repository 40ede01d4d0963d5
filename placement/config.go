package placement

// Config is the placement service's part of the configuration file; the names
// are upstream's.
type Config struct {
	IncompleteConsumerProjectID string `config:"incomplete_consumer_project_id" default:"00000000-0000-0000-0000-000000000000" help:"project of consumers whose allocations came by an API version before 1.8"`
	IncompleteConsumerUserID    string `config:"incomplete_consumer_user_id" default:"00000000-0000-0000-0000-000000000000" help:"user of consumers whose allocations came by an API version before 1.8"`
	RandomizeCandidates         bool   `config:"randomize_allocation_candidates" default:"false" help:"answer allocation candidates in random order, and a random choice of them where a limit is given"`
	MaxCandidates               int    `config:"max_allocation_candidates" default:"-1" help:"the most allocation candidates that are made for one request; -1 stands for the built-in bound of 100000"`
	CandidateStrategy           string `config:"allocation_candidates_generation_strategy" default:"depth-first" help:"which candidates are made first when their number is bounded: depth-first takes all of one provider tree before the next, breadth-first one of each tree in turn"`
}

// The strategies of Config.CandidateStrategy.
const (
	DepthFirst   = "depth-first"
	BreadthFirst = "breadth-first"
)

// CandidateBound is the most candidates that one request makes, whatever the
// configuration says.
const CandidateBound = 100_000
