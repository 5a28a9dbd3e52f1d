/* berthd: composition of the daemon. */
int
main(void)
{
    return 0;
}
