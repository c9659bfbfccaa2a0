#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>
#include <fcntl.h>
#include <sys/prctl.h>

#define PAGE_SIZE 4096

#define KSFT_FAIL 1

#define KSFT_SKIP 4

/* Addresses as the model gives them, far from all that libc maps. */
#define AT(offset) ((void *)(0x1000000000UL + (offset)))

/* What threads and processes share: whose turn it is, and what was found. */
struct shared {
	atomic_int turn;
	atomic_int asleep;	/* the thread that waits in its call while the others go on */
	atomic_int checked;
	atomic_int failed;
	pid_t pid[PROCESSES];
};

static struct shared *shared;

static __thread const char *me = "setup";

static __thread int back_at;

/* The state of a task as proc(5) has it: R, S, D, Z; X if it is gone. */
static char state_of(pid_t tid)
{
	char path[64], text[256] = "";
	char *end;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return 'X';
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	close(fd);
	end = strrchr(text, ')');
	return end ? end[2] : 'X';
}

/* Until a task has been asleep in its call for some milliseconds. */
static void wait_until_asleep(pid_t tid)
{
	for (int quiet = 0; quiet < 5; usleep(1000))
		quiet = state_of(tid) == 'R' ? 0 : quiet + 1;
}

/* Until it is this step's turn. */
static void turn(int step)
{
	pid_t asleep;

	while (atomic_load(&shared->turn) != step)
		usleep(50);
	asleep = atomic_exchange(&shared->asleep, 0);
	if (asleep)
		wait_until_asleep(asleep);
}

static void end_turn(void)
{
	atomic_fetch_add(&shared->turn, 1);
}

/* The next call has to wait: the others go on, and this thread at that step. */
static void others_go_on_until(int step)
{
	back_at = step;
	atomic_store(&shared->asleep, gettid());
	end_turn();
}

static long answer(long result)
{
	return result == -1 ? -errno : result;
}

/* One line of TAP. */
static void check(int same, const char *call, const char *want, long got)
{
	int number;

	if (back_at)
		turn(back_at);
	back_at = 0;
	number = atomic_fetch_add(&shared->checked, 1) + 1;
	if (same) {
		printf("ok %d - %s: %s = %s\n", number, me, call, want);
		return;
	}
	atomic_fetch_add(&shared->failed, 1);
	printf("not ok %d - %s: %s = %s\n", number, me, call, want);
	printf("# got %ld%s%s\n", got, got < 0 ? ": " : "", got < 0 ? strerror(-got) : "");
}

#define expect(want, call) check_answer(#call, #want, want, answer((long)(call)))

static void check_answer(const char *call, const char *text, long want, long got)
{
	check(got == want, call, text, got);
}

#define expect_fd(call) check_fd(#call, answer(call))

static int check_fd(const char *call, long got)
{
	check(got >= 0, call, "a descriptor", got);
	return got;
}

#define expect_address(call) check_address(#call, answer((long)(call)))

static char *check_address(const char *call, long got)
{
	check(got < -4095 || got >= 0, call, "an address", got);
	return (char *)got;
}

/* Nothing can be tested here. */
static void skip_all(const char *what)
{
	int error = errno;

	printf("TAP version 13\n1..0 # SKIP %s%s%s\n", what, error ? ": " : "", error ? strerror(error) : "");
	exit(KSFT_SKIP);
}

static void out_of_time(int signal)
{
	static const char text[] = "Bail out! a call does not return\n";

	(void)signal;
	if (write(STDOUT_FILENO, text, sizeof(text) - 1))
		_exit(KSFT_FAIL);
}

static void begin(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGALRM, out_of_time);
	signal(SIGPIPE, SIG_IGN);
	alarm(20);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		skip_all("no memory");
	atomic_store(&shared->turn, 1);
}

static void plan(int answers)
{
	printf("TAP version 13\n1..%d\n", answers);
}

static int end(int answers)
{
	for (int process = 0; process < PROCESSES; process++)
		if (shared->pid[process] > 0)
			kill(shared->pid[process], SIGKILL);
	if (atomic_load(&shared->checked) != answers)
		printf("Bail out! %d of %d answers came\n", atomic_load(&shared->checked), answers);
	return atomic_load(&shared->failed) || atomic_load(&shared->checked) != answers ? KSFT_FAIL : 0;
}
