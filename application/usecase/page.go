package usecase

import "github.com/millrace/millrace/domain"

// The bounds of a page, in entries. One of tasks is bounded in bytes, too: application.PageBytes.
const (
	DefaultPageSize = 50
	MaxPageSize     = 1000
	MaxBulkPage     = 100 // of bulk actions
)

// pageSize is how many entries a page has, at most: as many as were asked for, or
// standard if that is 0. Out of bounds is domain.CodeInvalid. The store is asked for one
// more, which tells whether there is a next page.
func pageSize(asked, standard, most int) (int, error) {
	switch {
	case asked == 0:
		return standard, nil
	case asked < 1 || asked > most:
		return 0, domain.Invalid("limit", "must be from 1 to %d, not %d", most, asked)
	}
	return asked, nil
}
