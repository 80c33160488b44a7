package sqlite_test

import (
	"testing"

	"github.com/millrace/millrace/test/contract"
)

func TestRepositories(t *testing.T) {
	contract.Repositories(t, func(t *testing.T) contract.Store {
		db, _ := open(t, fresh(t))
		return storeOn(db)
	})
}
