/*
 * scenarios/users_and_a_sealer.py for SPIN 6: N users, N devices, one sealer, one page.
 *
 *	spin -a -DN=2 -DWAIT_FOR_PINS memfd_seal.pml && gcc -O2 -DSAFETY -DNOCLAIM -o pan pan.c && ./pan
 *
 * -DWAIT_FOR_PINS for the proof, -DSEALING_V2 for the counterexample.  benchmarks/bench.py runs both.
 *
 * One statement below is one step of mmsim; the comment names it as `mmsim check --all-steps` prints it: the word and
 * the cell.  A lock, an atomic and a wait are one transition each (d_step), as they are one step each in mmsim.  What
 * is done to keep the comparison fair to SPIN:
 *
 *  - what only one process can reach (its descriptor table, mmap_lock, VMAs, page table, TLB) is a *local* variable of
 *    that process, so that SPIN's partial-order reduction and its merging of statements apply to it;
 *  - what nobody changes in this scenario (descriptors, i_size, the slot of the page cache, page->mapping) is a
 *    constant; its loads stay as statements that read no variable at all, which SPIN can reduce away;
 *  - scratch variables are zeroed in the very step that reads them last; there is no transition of bookkeeping;
 *  - processes never die: they end in one blocked, valid end state, so that no order of deaths is explored;
 *  - i_mmap is one bit for each user, in no order; the content of the page is one bit.
 *
 * For the count of states with no reduction of any kind: spin -a -o3 (no merging) and gcc -DNOREDUCE.  What then still
 * differs from `mmsim check --unreduced` is told in benchmarks/README.md.
 */

#ifndef N
#define N 2
#endif

#define FREE	0
#define HELD	1		/* the mmap_lock is also HELD by its one possible reader: no two can be in one process */
#define ORIG	0
#define LATE	1
#define KNOWN	(1 == 1)	/* the load of a cell that nobody changes after setup */

#define lock(l)		d_step { l == FREE -> l = HELD }
#define unlock(l)	l = FREE

bit	i_mutex;			/* inode->i_mutex */
bit	i_mmap_mutex;			/* mapping->i_mmap_mutex */
short	i_mmap_writable;		/* mapping->i_mmap_writable; -1: denied */
bit	i_mmap[N];			/* mapping->i_mmap: which users' VMAs are linked */
bit	seal_write;			/* inode->seals & F_SEAL_WRITE */
byte	refcount = 1;			/* page->_refcount: the page cache's own */
byte	mapcount;			/* page->_mapcount, counted from 0 */
bit	pg_locked;			/* page->flags, PG_locked */
bit	pg_dirty;			/* page->flags, PG_dirty */
bit	content = ORIG;			/* the page's one word */
bit	queue[N];			/* requests of user i's device: 0 or 1 */
bit	reqs_active[N];			/* user i's kioctx->reqs_active */

active [N] proctype user()
{
	bit mmap_lock, ptl, vma, pte, tlb, ios_made;

	/* mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED) */
	KNOWN;					/* load     fd[3] */
	lock(mmap_lock);			/* lock     mmap_lock */
#ifdef SEALING_V2
	lock(i_mmap_mutex);			/* lock     i_mmap_mutex	map_writable */
	if					/* load     seals */
	:: seal_write ->
		unlock(i_mmap_mutex);		/* unlock   i_mmap_mutex */
		goto eperm
	:: !seal_write
	fi;
	i_mmap_writable++;			/* inc      i_mmap_writable */
	unlock(i_mmap_mutex);			/* unlock   i_mmap_mutex */
#else
	if					/* inc_unless_negative i_mmap_writable */
	:: i_mmap_writable < 0 -> goto eperm
	:: d_step { i_mmap_writable >= 0 -> i_mmap_writable++ }
	fi;
#endif
	!vma;					/* load     mmap */
	vma = 1;				/* store    mmap */
	lock(i_mmap_mutex);			/* lock     i_mmap_mutex	vma_link_file */
	i_mmap[_pid] = 1;			/* update   i_mmap */
	i_mmap_writable++;			/* inc      i_mmap_writable */
	unlock(i_mmap_mutex);			/* unlock   i_mmap_mutex */
#ifdef SEALING_V2
	lock(i_mmap_mutex);			/* lock     i_mmap_mutex	unmap_writable */
	i_mmap_writable--;			/* dec      i_mmap_writable */
	unlock(i_mmap_mutex);			/* unlock   i_mmap_mutex */
#else
	i_mmap_writable--;			/* dec      i_mmap_writable */
#endif
	unlock(mmap_lock);			/* unlock   mmap_lock */

	/* io_submit(): get_user_pages_fast() finds no PTE, get_user_pages() faults the page in and pins it */
	!pte;					/* load     pte			gup_fast_pte */
	lock(mmap_lock);			/* lock_shared mmap_lock	get_user_pages */
	vma;					/* load     mmap */
	lock(ptl);				/* lock     page_table_lock	follow_page_pte */
	!pte;					/* load     pte */
	unlock(ptl);				/* unlock   page_table_lock */
	!pte;					/* load     pte			handle_mm_fault */
	KNOWN;					/* load     i_size		shmem_fault */
	KNOWN;					/* load     i_pages[0]		find_get_page */
	d_step { refcount > 0 -> refcount++ };	/* inc_not_zero _refcount */
	KNOWN;					/* load     i_pages[0] */
	lock(pg_locked);			/* lock     PG_locked */
	KNOWN;					/* load     mapping */
	KNOWN;					/* load     i_size */
	lock(ptl);				/* lock     page_table_lock	do_set_pte */
	!pte;					/* load     pte */
	mapcount++;				/* inc      _mapcount */
	pte = 1;				/* store    pte */
	unlock(ptl);				/* unlock   page_table_lock */
	unlock(pg_locked);			/* unlock   PG_locked */
	lock(ptl);				/* lock     page_table_lock	follow_page_pte */
	pte;					/* load     pte */
	d_step { refcount > 0 -> refcount++ };	/* inc_not_zero _refcount	the pin */
	unlock(ptl);				/* unlock   page_table_lock */
	unlock(mmap_lock);			/* unlock_shared mmap_lock */
	ios_made = 1;				/* add_return ios_made */
	reqs_active[_pid]++;			/* inc      reqs_active */
	queue[_pid] = 1;			/* update   queue */

	/* munmap() */
	lock(mmap_lock);			/* lock     mmap_lock */
	vma;					/* load     mmap */
	vma = 0;				/* store    mmap */
	lock(ptl);				/* lock     page_table_lock	zap_pte_range */
	d_step { pte -> pte = 0 };		/* exchange pte */
	pg_dirty = 1;				/* test_and_set flags */
	mapcount--;				/* dec      _mapcount */
	tlb = 0;				/* spin_update tlb		flush_tlb: no instruction runs on this CPU */
	unlock(ptl);				/* unlock   page_table_lock */
	lock(i_mmap_mutex);			/* lock     i_mmap_mutex	unlink_file_vma */
	i_mmap[_pid] = 0;			/* update   i_mmap */
	unlock(i_mmap_mutex);			/* unlock   i_mmap_mutex */
#ifdef SEALING_V2
	lock(i_mmap_mutex);			/* lock     i_mmap_mutex	unmap_writable */
	i_mmap_writable--;			/* dec      i_mmap_writable */
	unlock(i_mmap_mutex);			/* unlock   i_mmap_mutex */
#else
	i_mmap_writable--;			/* dec      i_mmap_writable */
#endif
	refcount--;				/* dec_and_test _refcount	put_page */
eperm:
	unlock(mmap_lock);			/* unlock   mmap_lock */
end_done:
	false
}

active [N] proctype device()
{
	bit result;

end_silent:
	do
	:: queue[_pid - N] ->			/* wait_until queue */
		d_step {			/* update   word[0]		dma_to_memory */
			assert(!seal_write || content == LATE);	/* sealed content never changes */
			content = LATE
		};
		pg_dirty = 1;			/* test_and_set flags */
		refcount--;			/* dec_and_test _refcount	put_page */
		reqs_active[_pid - N]--;	/* dec      reqs_active */
		result = 1;			/* store    result */
		queue[_pid - N] = 0		/* update   queue */
	od
}

active proctype sealer()
{
#ifdef WAIT_FOR_PINS
	byte refs, scan;
#endif
	/* fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) */
	KNOWN;					/* load     fd[3] */
	lock(i_mutex);				/* lock     i_mutex */
	!seal_write;				/* load     seals */
#ifdef SEALING_V2
	lock(i_mmap_mutex);			/* lock     i_mmap_mutex	deny_writable */
	if					/* load     i_mmap_writable */
	:: i_mmap_writable > 0 ->
		unlock(i_mmap_mutex);		/* unlock   i_mmap_mutex	-EBUSY */
		goto out
	:: i_mmap_writable <= 0
	fi;
	seal_write = 1;				/* update   seals */
	unlock(i_mmap_mutex);			/* unlock   i_mmap_mutex */
#else
	if					/* dec_unless_positive i_mmap_writable */
	:: i_mmap_writable > 0 -> goto out	/*				-EBUSY */
	:: d_step { i_mmap_writable <= 0 -> i_mmap_writable-- }
	fi;
	KNOWN;					/* load     i_size		memfd_wait_for_pins */
	KNOWN;					/* exchange lru_cache		memfd_tag_pins: lru_add_drain */
	KNOWN;					/* load     i_pages[0]		memfd_tag_pins */
	refs = refcount;			/* load     _refcount		has_extra_refs */
	if					/* load     _mapcount */
	:: d_step { refs <= mapcount + 1 -> refs = 0 } -> goto grant
	:: d_step { refs > mapcount + 1 -> refs = 0 }
	fi;
	KNOWN;					/* exchange lru_cache		lru_add_drain_all: the sealer's */
	KNOWN;					/* exchange lru_cache		and each user's */
#if N > 1
	KNOWN;
#endif
#if N > 2
	KNOWN;
#endif
again:
	KNOWN;					/* load     i_pages[0]		memfd_wait_for_pins */
	refs = refcount;			/* load     _refcount		has_extra_refs */
	if					/* load     _mapcount */
	:: d_step { refs == mapcount + 1 -> refs = 0; scan = 0 } -> goto grant
	:: d_step { refs != mapcount + 1 && scan < 4 -> refs = 0; scan++ } ->
		KNOWN;				/* sleep */
		goto again
	:: d_step { refs != mapcount + 1 && scan == 4 -> refs = 0; scan = 0 }
	fi;
	i_mmap_writable++;			/* inc      i_mmap_writable	allow_writable, -EBUSY */
	goto out;
grant:
#endif
	seal_write = 1;				/* store    seals */
out:
	unlock(i_mutex);			/* unlock   i_mutex */
end_done:
	false
}
