package loop_test

import (
	"context"
	"slices"
	"testing"

	"github.com/millrace/millrace/application/internal/loop"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// noted notes steps, each as large as it may be, until no smaller one is to follow, and
// returns their sizes.
func noted(p *loop.Portion, err error) (sizes []int) {
	for {
		size := p.Size()
		sizes = append(sizes, size)
		if !p.Note(size, 0, err) {
			return sizes
		}
	}
}

func TestPortion_IsHalvedDownToOneAndGrowsBack(t *testing.T) {
	p := loop.NewPortion(500)
	if got, want := noted(p, apptest.ErrTookTooLong), []int{500, 250, 125, 62, 31, 15, 7, 3, 1}; !slices.Equal(got, want) {
		t.Errorf("steps that take too long are of %v, want %v", got, want)
	}
	var sizes []int
	for range 11 {
		sizes = append(sizes, p.Size())
		p.Note(p.Size(), p.Size(), nil)
	}
	if want := []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 500, 500}; !slices.Equal(sizes, want) {
		t.Errorf("steps that find enough are of %v, want %v", sizes, want)
	}
}

func TestPortion_IsHalvedByAStepThatWasSlow(t *testing.T) {
	p := loop.NewPortion(500)
	var sizes []int
	for range 3 {
		sizes = append(sizes, p.Size())
		p.NoteSlow(p.Size())
	}
	p.NoteSlow(500) // of another, which began before
	p.Note(p.Size(), p.Size(), nil)
	if sizes = append(sizes, p.Size()); !slices.Equal(sizes, []int{500, 250, 125, 124}) {
		t.Errorf("steps are of %v", sizes)
	}
}

// A store that stays slow must not fail every other step.
func TestPortion_GrowsEverMoreSeldomWhileTheLargerStepTakesTooLong(t *testing.T) {
	const steps, most = 1000, 64
	p, failed := loop.NewPortion(500), 0
	for range steps {
		var err error
		size := p.Size()
		if size > most {
			err = apptest.ErrTookTooLong
			failed++
		}
		p.Note(size, size, err)
	}
	if failed > 30 {
		t.Errorf("%d of %d steps took too long", failed, steps)
	}
	for range 10 * steps { // it is well again
		p.Note(p.Size(), p.Size(), nil)
	}
	if p.Size() != 500 {
		t.Errorf("%d, want 500", p.Size())
	}
}

func TestPortion_StaysAsItIs(t *testing.T) {
	for name, c := range map[string]struct {
		size, found int
		err         error
	}{
		"AfterAStepThatFoundLess":  {64, 63, nil},
		"AfterASmallerStep":        {10, 10, nil},
		"AfterAnotherError":        {64, 0, domain.ErrUnavailable},
		"AfterACallerWhoHasGone":   {64, 0, context.Canceled},
		"AfterADeadlineOfItsOwn":   {64, 0, context.DeadlineExceeded},
		"AfterALargerStepTooLong":  {128, 0, apptest.ErrTookTooLong},
		"AfterALargerStepThatWent": {32, 32, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := loop.NewPortion(128)
			p.Note(128, 0, apptest.ErrTookTooLong) // 64
			p.Note(c.size, c.found, c.err)
			if p.Size() != 64 {
				t.Errorf("%d, want 64", p.Size())
			}
		})
	}
}
