namespace Fabric.Tunnel.Core;

/// <summary>What a number is to those seen before.</summary>
internal enum Sequence
{
    New,
    Seen,

    /// <summary>So far behind that nobody knows any more whether it was seen.</summary>
    TooOld,
}

/// <summary>
/// Which of the last <see cref="Width"/> numbers were seen (the anti-replay window of RFC 4303, 3.4.3): each is let through once, in
/// whatever order. It is as wide as what one lane may hold while another already delivers.
/// </summary>
internal struct SequenceWindow
{
    public const int Width = 1024;

    private ulong[]? _seen;
    private long _greatest;

    /// <param name="number">From 1.</param>
    public Sequence See(long number)
    {
        _seen ??= new ulong[Width / 64];
        if (number <= _greatest - Width)
        {
            return Sequence.TooOld;
        }

        if (number > _greatest)
        {
            if (number - _greatest >= Width)
            {
                Array.Clear(_seen);
            }
            else
            {
                for (var n = _greatest + 1; n < number; n++)
                {
                    _seen[Word(n)] &= ~Bit(n);
                }
            }

            _greatest = number;
        }
        else if ((_seen[Word(number)] & Bit(number)) != 0)
        {
            return Sequence.Seen;
        }

        _seen[Word(number)] |= Bit(number);
        return Sequence.New;
    }

    private static int Word(long number) => (int)(number % Width) / 64;

    private static ulong Bit(long number) => 1UL << (int)(number % 64);
}
