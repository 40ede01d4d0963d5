package image

import "time"

// MemberStatus is what a project says to an image that was shared with it.
type MemberStatus string

// The member statuses.
const (
	MemberPending  MemberStatus = "pending"
	MemberAccepted MemberStatus = "accepted"
	MemberRejected MemberStatus = "rejected"
)

// Member is a project with which an image is shared.
type Member struct {
	ImageID   string       `db:"image_id"`
	MemberID  string       `db:"member_id"`
	Status    MemberStatus `db:"status"`
	CreatedAt time.Time    `db:"created_at"`
	UpdatedAt time.Time    `db:"updated_at"`
}
