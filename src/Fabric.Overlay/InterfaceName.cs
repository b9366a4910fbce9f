using System.Security.Cryptography;
using System.Text;

namespace Fabric.Overlay;

/// <summary>Names of interfaces from names of links. Linux allows 15 bytes, without space, slash and colon.</summary>
public static class InterfaceName
{
    public const int MaxLength = 15;

    /// <summary>
    /// The prefix and the link's name when that fits and has only <c>[a-z0-9-_.]</c>; else the prefix and as much of the SHA-256
    /// of the link's name (hex) as fits, at most 8 digits: stable, and different links differ.
    /// </summary>
    public static string For(string prefix, string link)
    {
        if (prefix.Length is < 1 or > 8 || !prefix.All(IsAllowed))
        {
            throw new OverlayException(OverlayStage.Interface,
                $"interface prefix '{prefix}' must be 1 to 8 characters of a-z, 0-9, '-', '_', '.'; e.g. 'fab-'");
        }

        var name = prefix + link;
        if (link.Length > 0 && name.Length <= MaxLength && link.All(IsAllowed))
        {
            return name;
        }

        var hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(link)));
        return prefix + hash[..Math.Min(8, MaxLength - prefix.Length)];
    }

    /// <summary>Throws when the kernel would refuse it, or when it is a path.</summary>
    internal static string Check(string name) => name.Length is >= 1 and <= MaxLength && name.All(IsAllowed) && name[0] != '.'
        ? name
        : throw new OverlayException(OverlayStage.Interface,
            $"interface name '{name}' must be 1 to {MaxLength} characters of a-z, 0-9, '-', '_', '.' and not begin with '.'");

    private static bool IsAllowed(char c) => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c is '-' or '_' or '.';
}
