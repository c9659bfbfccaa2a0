#include <setjmp.h>

static __thread sigjmp_buf fault;

static void on_fault(int signal)
{
	siglongjmp(fault, signal);
}

static void catch_faults(void)
{
	signal(SIGSEGV, on_fault);
	signal(SIGBUS, on_fault);
}

/* As the CPU does it; the signal that comes of it, negated, if one does. */
static long load(const volatile char *address, size_t length)
{
	int signal = sigsetjmp(fault, 1);

	if (signal)
		return -signal;
	for (size_t i = 0; i < length; i++)
		bytes[i] = address[i];
	return length;
}

static long store(volatile char *address, const char *data, size_t length)
{
	int signal = sigsetjmp(fault, 1);

	if (signal)
		return -signal;
	for (size_t i = 0; i < length; i++)
		address[i] = data[i];
	return 0;
}
