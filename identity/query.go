package identity

// Query narrows and bounds a list.
type Query struct {
	Filters []Filter
	Limit   int    // at most so many; 0: the store's bound
	Marker  string // only what comes after this id, in the list's order
}

// Filter is one condition on a field. The API admits only fields that are
// columns of the resource.
type Filter struct {
	Field string
	Op    Op
	Value any
}

// Op compares a field with a value.
type Op string

// The comparisons of the API (name, name__contains and so on); those that
// begin with i ignore case. In takes a []string, and Null no value.
const (
	Equals      Op = ""
	IEquals     Op = "iexact"
	Contains    Op = "contains"
	IContains   Op = "icontains"
	StartsWith  Op = "startswith"
	IStartsWith Op = "istartswith"
	EndsWith    Op = "endswith"
	IEndsWith   Op = "iendswith"
	In          Op = "in"
	Null        Op = "null"
	Below       Op = "lt"
	AtMost      Op = "lte"
	Above       Op = "gt"
	AtLeast     Op = "gte"
	Not         Op = "neq"
)

// By is a query for one field's value.
func By(field string, value any) Query { return Query{Filters: []Filter{{Field: field, Value: value}}} }

// And adds a condition.
func (q Query) And(field string, value any) Query {
	q.Filters = append(append([]Filter(nil), q.Filters...), Filter{Field: field, Value: value})
	return q
}

// Get returns the value that the query asks a field to equal.
func (q Query) Get(field string) (any, bool) {
	for _, f := range q.Filters {
		if f.Field == field && f.Op == Equals {
			return f.Value, true
		}
	}
	return nil, false
}
