/* Addresses and ids of PCI devices: hexadecimal numbers of a fixed length. Start at read_hex(). */
#include "model/pci.h"

/* Reads @digits hexadecimal digits and the character @end, and moves @at behind them. */
static gboolean
read_hex(const char **at, guint digits, char end, guint *number)
{
    *number = 0;
    for (guint i = 0; i < digits; i++, (*at)++) {
        if (!g_ascii_isxdigit(**at)) {
            return FALSE;
        }
        *number = *number * 16 + (guint)g_ascii_xdigit_value(**at);
    }
    gboolean ends = **at == end;
    *at += ends && end != '\0';
    return ends;
}

/**
 * berth_pci_address_parse:
 * @address: (out): undefined when it is none
 *
 * Returns: whether @text is one, written in full as libvirt and lspci -D do
 */
gboolean
berth_pci_address_parse(const char *text, BerthPciAddress *address)
{
    const char *at = text;
    return read_hex(&at, 4, ':', &address->domain) && read_hex(&at, 2, ':', &address->bus) &&
           read_hex(&at, 2, '.', &address->slot) && read_hex(&at, 1, '\0', &address->function) &&
           address->slot < 32 && address->function < 8;
}

/** Returns: whether @text is vendor and product as lspci -n shows them: "10de:20b0". */
gboolean
berth_pci_id_check(const char *text)
{
    const char *at = text;
    guint number;
    return read_hex(&at, 4, ':', &number) && read_hex(&at, 4, '\0', &number);
}
