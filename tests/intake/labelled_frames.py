"""Sentences of the labelled outputs, in six languages: with a place for a number, and without one."""

from __future__ import annotations

LANGUAGES = ("en", "de", "fr", "es", "it", "nl")

FRAMES = {
    "en": (
        "As you asked, I have noted {x} for your order.",
        "Here it is: {x}",
        'The customer wrote "{x}", is that right?',
        "Please check {x}, then reply (we keep it for 30 days).",
        "Found in your account ({x}).",
    ),
    "de": (
        "Wie gewünscht habe ich {x} zu Ihrer Bestellung notiert.",
        "Hier die Angabe: {x}",
        "Der Kunde schrieb „{x}“, stimmt das?",
        "Bitte prüfen Sie {x}, danach melden wir uns (binnen 30 Tagen).",
        "In Ihrem Konto gefunden ({x}).",
    ),
    "fr": (
        "Comme demandé, j’ai ajouté {x} à votre commande.",
        "Voici\u00a0: {x}",
        "Le client a écrit «\u00a0{x}\u00a0», est-ce exact\u00a0?",
        "Vérifiez {x}, puis répondez (sous 30 jours).",
        "Trouvé dans votre compte ({x}).",
    ),
    "es": (
        "Como pidió, he anotado {x} en su pedido.",
        "Aquí está: {x}",
        "El cliente escribió «{x}», ¿es correcto?",
        "Compruebe {x}, y responda (en 30 días).",
        "Encontrado en su cuenta ({x}).",
    ),
    "it": (
        "Come richiesto ho annotato {x} per il suo ordine.",
        "Ecco: {x}",
        "Il cliente ha scritto «{x}», è giusto?",
        "Controlli {x}, poi risponda (entro 30 giorni).",
        "Trovato nel suo conto ({x}).",
    ),
    "nl": (
        "Zoals gevraagd heb ik {x} bij uw bestelling genoteerd.",
        "Hier is het: {x}",
        "De klant schreef '{x}', klopt dat?",
        "Controleer {x}, antwoord daarna (binnen 30 dagen).",
        "Gevonden in uw account ({x}).",
    ),
}

SENTENCES = {
    "en": ("Your parcel left the warehouse this morning.", "A refund takes 5 to 7 working days.", "There are 3 left."),
    "de": ("Ihr Paket hat das Lager heute verlassen.", "Eine Erstattung dauert 5 bis 7 Werktage.", "Noch 3 verfügbar."),
    "fr": ("Votre colis a quitté l’entrepôt.", "Un remboursement prend 5 à 7 jours.", "Il en reste 3."),
    "es": ("Su paquete salió del almacén.", "Un reembolso tarda de 5 a 7 días.", "Quedan 3."),
    "it": ("Il suo pacco ha lasciato il magazzino.", "Un rimborso richiede da 5 a 7 giorni.", "Ne restano 3."),
    "nl": ("Uw pakket heeft het magazijn verlaten.", "Een terugbetaling duurt 5 tot 7 werkdagen.", "Er zijn er nog 3."),
}
